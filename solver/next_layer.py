"""What every device lacks for one layer more: seconds, bytes, joules, or a faster uplink.

All of it holds under the plan's own ranks, for the layer that `solver.explain.binding` asks
for: with what it lacks a device could train that layer, with less it could not, as long as the
others stay as they are. A new plan may use the same second otherwise: what that is worth,
`solver.prices` says.
"""

from dataclasses import dataclass, replace

import numpy as np

from profiler.schema import Fleet, InputError
from solver.again import pose_again
from solver.allocation import (
    LEFT_OUT,
    Allocation,
    busy_s,
    cost,
    parameters,
    round_time_s,
    server_ranks,
    summed_ranks,
)
from solver.costs.devices import Floats, Ints
from solver.costs.limited import MAX_DEPTH, OWN_ENERGY, OWN_TIME
from solver.costs.resource import TOLERANCE, Resource
from solver.costs.stacking import stacked
from solver.explain.binding import limits, longest_s, one_more
from solver.links.graph import NO_LINK
from solver.plan import Plan
from solver.problem import Problem

__all__ = ["NextLayer", "next_layers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NextLayer:
    """What a device lacks for one layer more; 0 of what it has enough of.

    Parameters
    ----------
    device, device_class, binding : str
        As in the plan.
    count : int
        Devices alike, which go deeper together; each lacks that much.
    depth : int
        Layers that it would adapt. Who is left out is asked for the least depth, or for all
        layers where the policy knows no other.
    rank : int
        Of the layer that is added.
    round_time_s : float
        How much longer a round would have to last, for the device or a link that it shares.
    uplink_bytes_per_s : float or None
        How much faster its uplink would have to be in place of a longer round, or a longer
        time of its own; None where none is fast enough.
    own_time_s : float
        How much longer the limit on its own time would have to be.
    memory_bytes, upload_bytes, download_bytes, energy_j : float
        How much more memory, and how much larger the limit on it: the question's or its own,
        whichever is further off.
    mean_wait_s : float
        How much longer a mean wait would have to be allowed; 0 where waits are filled, as it
        is not known there.
    rank_budget, max_depth : int
        How much larger the rank budget and the greatest depth.
    """

    device: str
    device_class: str
    count: int
    depth: int
    rank: int
    binding: str
    round_time_s: float
    own_time_s: float
    uplink_bytes_per_s: float | None
    memory_bytes: float
    upload_bytes: float
    download_bytes: float
    energy_j: float
    mean_wait_s: float
    rank_budget: int
    max_depth: int


def next_layers(plan: Plan, fleet: Fleet) -> list[NextLayer]:
    """Say for every device that does not adapt all layers what it lacks for one more.

    Parameters
    ----------
    plan : Plan
    fleet : Fleet
        That the plan was made for, with its changes if it answers a what-if.

    Raises
    ------
    InputError
        If the plan is not one of this fleet.
    """
    problem, allocation = _of(plan, fleet)
    asked = _asked(problem, allocation)
    each = _Lacks(problem, allocation, asked)
    deepest = asked.depth - 1
    linked_s = each.linked_s()
    lacks = each.own() | {"mean_wait_s": each.wait_s()}
    np.maximum(lacks["round_time_s"], linked_s, out=lacks["round_time_s"])
    deeper, ranks, uplink = lacks.pop("max_depth"), each.ranks(), each.uplink(linked_s)
    return [
        NextLayer(
            device=device.name,
            device_class=device.device_class,
            count=device.count,
            depth=int(asked.depth[i]),
            rank=int(asked.rows[asked.row[i], deepest[i]]),
            binding=device.binding,
            uplink_bytes_per_s=None if np.isnan(uplink[i]) else float(uplink[i]),
            rank_budget=int(ranks[i]),
            max_depth=round(deeper[i]),
            **{name: float(values[i]) for name, values in lacks.items()},
        )
        for i, device in enumerate(plan.devices)
        if allocation.depth[i] < problem.layers
    ]


def _of(plan: Plan, fleet: Fleet) -> tuple[Problem, Allocation]:
    """The plan's problem, before waits are filled, and what it gives to whom."""
    if [d.name for d in plan.devices] != [d.name for d in fleet.devices]:
        raise InputError("the plan is of other devices than the fleet; expected one of it")
    problem = pose_again(fleet, plan.question)
    # Nothing for who is left out.
    rows = [*(c.ranks[::-1] for c in plan.configurations), [0] * problem.layers]
    index = [-1 if d.configuration is None else d.configuration for d in plan.devices]
    row = np.array(index, dtype=np.int64) % len(rows)
    depths = np.array([*(c.depth for c in plan.configurations), LEFT_OUT], dtype=np.int64)
    allocation = Allocation(rows=np.array(rows, dtype=np.int64), row=row, depth=depths[row])
    if plan.question.download == "stacked":
        problem = stacked(problem, allocation)
    return problem, allocation


def _asked(problem: Problem, allocation: Allocation) -> Allocation:
    """One layer more; of who is left out, the least depth where the policy has one."""
    if problem.question.policy != "exact":
        return one_more(problem, allocation)
    before = max(problem.question.min_depth, 1) - 1
    depth = np.where(allocation.taking_part, allocation.depth, before)
    return one_more(problem, replace(allocation, depth=depth))


_BUDGETS = {
    "round time": "round_time_s",
    "memory": "memory_bytes",
    "upload": "upload_bytes",
    "download": "download_bytes",
    "energy": "energy_j",
    OWN_TIME: "own_time_s",
    "own upload": "upload_bytes",
    "own download": "download_bytes",
    OWN_ENERGY: "energy_j",
    MAX_DEPTH: "max_depth",
}


@dataclass(frozen=True, slots=True)
class _Lacks:
    """What devices lack to go from an allocation to another, each by itself; all (N,)."""

    problem: Problem
    now: Allocation
    then: Allocation

    def own(self) -> dict[str, Floats]:
        """By what a device passes each of its own limits, by budget."""
        found = {name: np.zeros(len(self.now.depth)) for name in _BUDGETS.values()}
        for q, limit in limits(self.problem, self.now):
            need = self._cost(q)
            # Of the phases of memory the one that lacks most.
            most = found[_BUDGETS[q.name]]
            np.maximum(most, need - limit, out=most, where=need > limit * (1 + TOLERANCE))
        return found

    def linked_s(self) -> Floats:
        """By how much a shared link would be busy for longer than a round."""
        costs, limit_s = self.problem.costs, longest_s(self.problem, self.now)
        found = np.zeros(len(self.now.depth))
        if costs.links is None or limit_s is None:
            return found
        for i in np.flatnonzero(costs.links.own != NO_LINK).tolist():
            over_s = float(self._busy_s(i).max()) - limit_s
            found[i] = over_s if over_s > limit_s * TOLERANCE else 0.0
        return found

    def uplink(self, linked_s: Floats) -> Floats:
        """How much faster an uplink would have to be, bytes a second; NaN where none helps."""
        costs, limit_s = self.problem.costs, self._most_s()
        speed = costs.devices.uplink_bytes_per_s
        ranks = summed_ranks(self.then)
        sent = costs.upload.adapter_bytes(parameters(costs, self.then), ranks)
        sent = sent + costs.upload.head_bytes
        whole_s = self._cost(costs.seconds)
        left_s = limit_s - (whole_s - sent / speed)
        late = np.maximum(whole_s - limit_s * (1 + TOLERANCE), linked_s) > 0
        helps = late & (left_s > 0) & (linked_s == 0)
        with np.errstate(divide="ignore"):
            more = sent / left_s - speed
        return np.where(helps, more, np.where(late, np.nan, 0.0))

    def _most_s(self) -> Floats:
        """How long each device may take, by the round and its own limit; infinite if so."""
        round_s = longest_s(self.problem, self.now)
        own_s = self.problem.costs.devices.time_limit_s
        found = np.full(len(self.now.depth), np.inf if round_s is None else round_s)
        return found if own_s is None else np.minimum(found, own_s)

    def wait_s(self) -> Floats:
        """By how much others would wait for longer than they may."""
        question, costs = self.problem.question, self.problem.costs
        limit_s = question.budgets.mean_wait_s
        if limit_s is None or question.fill_wait > 1:
            return np.zeros(len(self.now.depth))
        part, count = self.now.taking_part, costs.devices.count
        now = self.now
        now_s = cost(costs, costs.seconds, now.rows, now.row, now.depth) * part
        then_s = self._cost(costs.seconds)
        round_s = np.maximum(then_s, round_time_s(self.problem, self.now))
        if costs.links is not None:
            for i in np.flatnonzero(costs.links.own != NO_LINK).tolist():
                round_s[i] = max(round_s[i], float(self._busy_s(i).max()))
        heads = count[part].sum() + np.where(part, 0, count)
        total_s = float(np.dot(now_s, count)) + count * (then_s - now_s)
        over_s = round_s - total_s / heads - limit_s
        return np.where(over_s > TOLERANCE * round_s, over_s, 0.0)

    def ranks(self) -> Ints:
        """By how much the ranks of layers that the server does not have pass their budget."""
        budget, server = self.problem.question.budgets.rank_budget, server_ranks(self.now)
        if budget is None:
            return np.zeros(len(self.now.depth), dtype=np.int64)
        layer = np.arange(self.problem.layers)
        new = (server == 0) & (layer < self.then.depth[:, None])
        added = np.where(new, self.then.rows[self.then.row], 0).sum(axis=1)
        return np.asarray(np.maximum(int(server.sum()) + added - budget, 0))

    def _cost(self, q: Resource) -> Floats:
        then = self.then
        return cost(self.problem.costs, q, then.rows, then.row, then.depth)

    def _busy_s(self, i: int) -> Floats:
        """How long every shared link is busy with a layer more on a device, shape (E,)."""
        then = self.then
        rows = np.concatenate([self.now.rows, then.rows[then.row[i]][None, :]])
        row, depth = self.now.row.copy(), self.now.depth.copy()
        row[i], depth[i] = len(rows) - 1, then.depth[i]
        return busy_s(self.problem.costs, Allocation(rows=rows, row=row, depth=depth))
