"""Whether each device is stopped from one layer more by what the plan says stops it.

The device is given one layer more, at a rank that can be read off the plan, and its costs are
worked out again: of its own limits it must pass the one that is named, and no other by a larger
share. Where it passes none, what is named must be true of everybody together: a link that the
layer would overload, a rank budget that has no rank left for it, a mean wait that it would
make too long, a layer that gains nothing, or no limit at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from msgspec.structs import replace

from profiler.schema import DeviceClass, Fleet, FleetDevice, Link
from solver.check.caches import expected_cache
from solver.check.costs import (
    Recomputed,
    Shape,
    device_cost,
    layer_gain,
    prefix_s,
    recompute,
    shape_of,
    stack_bytes,
)
from solver.check.finding import TOLERANCE, Check, verdict
from solver.check.own_limits import own_limits
from solver.plan import Configuration, Plan, PlannedDevice, PredictedDevice

__all__ = ["binding_checks"]

TIMED = ("time", "efficiency")
# Shares that a limit is passed by, equal but for rounding.
TIE = 1e-6


def binding_checks(plan: Plan, fleet: Fleet, truth: Recomputed) -> list[Check]:
    """Check what is said to stop every device; one of which nothing is said passes.

    Parameters
    ----------
    plan : Plan
    fleet : Fleet
    truth : Recomputed
        The plan's figures, recomputed.
    """
    said = [device for device in plan.devices if device.binding]
    if not said or not plan.question.rank_choices:
        return []  # without a choice of ranks another check fails
    case, wrong = _Case.of(plan, fleet, truth), []
    for planned in said:
        device = case.devices.get(planned.name)
        if device is None:
            continue  # another check
        true = _reasons(case, planned, device)
        if planned.binding not in true:
            wrong.append((planned.name, planned.binding, " or ".join(true)))
    return [verdict("devices.binding", wrong)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """What is asked of every device.

    Parameters
    ----------
    truth : Recomputed
        The plan's figures before waits are filled.
    longest_s : float or None
        How long a round may take.
    stack : float or None
        Bytes that everybody receives, where adapters are stacked.
    shapes : dict
        What was worked out already, by class and ranks.
    """

    plan: Plan
    fleet: Fleet
    truth: Recomputed
    longest_s: float | None
    stack: float | None
    devices: Mapping[str, FleetDevice]
    classes: Mapping[str, DeviceClass]
    links: Mapping[str, Link]
    shapes: dict[tuple[str, tuple[int, ...]], Shape] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan, fleet: Fleet, truth: Recomputed) -> Self:
        devices = {d.name: d for d in fleet.devices}
        steps = {d.name: d.local_steps for d in fleet.devices}
        own = [replace(d, local_steps=steps.get(d.name, d.local_steps)) for d in plan.devices]
        if own != plan.devices:
            truth = recompute(replace(plan, devices=own), fleet)
        timed = plan.question.objective in TIMED
        budget_s = plan.question.budgets.round_time_s
        return cls(
            plan=plan,
            fleet=fleet,
            truth=truth,
            longest_s=truth.round.round_time_s if timed else budget_s,
            stack=stack_bytes(plan, fleet),
            devices=devices,
            classes={c.name: c for c in fleet.classes},
            links={link.name: link for link in fleet.links},
        )

    def cost(self, device: FleetDevice, shape: Configuration) -> PredictedDevice:
        """What a shape costs a device."""
        owner = self.classes[device.device_class]
        key = owner.name, tuple(shape.ranks)
        if key not in self.shapes:
            self.shapes[key] = shape_of(self.plan, self.fleet, owner, shape)
        spares = prefix_s(owner.time, shape.depth) > 0
        cache = expected_cache(self.plan, self.fleet, device) if spares else "off"
        return device_cost(self.fleet, owner, device, self.shapes[key], self.stack, cache)


def _reasons(case: _Case, planned: PlannedDevice, device: FleetDevice) -> list[str]:
    """What may be said to stop a device: one reason, or what rounding cannot tell from it."""
    shape = case.plan.configuration_of(planned)
    if shape is not None and shape.depth == case.plan.model.layers:
        return ["all layers"]
    more = _one_more(case.plan, shape)
    need = case.cost(device, more)
    passed = _own_limits(case, device, need, more.depth)
    most = max((share for share, _ in passed), default=-1.0)
    true = [
        name
        for share, name in passed
        if share >= -TOLERANCE and (share == most or most - share <= TIE * (1 + most))
    ]
    if most > TOLERANCE:
        return true
    if shape is None or planned.name not in case.truth.devices:
        return [*true, "no limit"]
    for reasons, sure in (
        _busy_links(case, device, need),
        _rank_budget(case.plan, shape, more),
        _wait(case, device, need),
    ):
        true += reasons
        if sure:
            return true
    layer = case.plan.model.layers - more.depth
    gains = layer_gain(case.fleet.gain, layer, more.ranks[layer]) > 0
    return [*true, "no limit" if gains else "no gain deeper"]


def _one_more(plan: Plan, shape: Configuration | None) -> Configuration:
    """One layer more than a shape; all layers for who takes no part.

    A layer has the server's rank, if ranks are capped no more than the largest of the shape,
    and the smallest choice where ranks are a device's own or the server has none.
    """
    layers, least = plan.model.layers, min(plan.question.rank_choices)
    held = [0] * layers if shape is None else shape.ranks
    most = {"shared": max(plan.ranks, default=0), "capped": max(held, default=0), "own": 0}
    depth = layers if shape is None else shape.depth + 1
    ranks = [0] * (layers - depth)
    for layer in range(layers - depth, layers):
        new = min(plan.ranks[layer], most[plan.question.structure]) or least
        ranks.append(held[layer] or max(new, least))
    return Configuration(depth=depth, ranks=ranks)


def _own_limits(
    case: _Case, device: FleetDevice, need: PredictedDevice, depth: int
) -> list[tuple[float, str]]:
    """By what share a device passes each of its limits, and the limit's name."""
    question = case.plan.question
    budgets, deepest = question.budgets, question.max_depth
    limits: Sequence[tuple[str, float, float | None]] = (
        ("round time", need.time_s, case.longest_s),
        ("memory", need.memory_bytes, device.memory_bytes or None),
        ("upload", need.upload_bytes, budgets.upload_bytes),
        ("download", need.download_bytes, budgets.download_bytes),
        ("energy", need.energy_j, budgets.energy_j),
    )
    shares = [(_share(seen, limit), name) for name, seen, limit in limits if limit is not None]
    owner = case.classes[device.device_class]
    shares += [
        (_share(seen, limit), name) for name, seen, limit in own_limits(device, owner, need)
    ]
    if deepest is not None and depth > deepest:
        shares.append((_share(depth, deepest), "greatest depth"))
    return shares


def _share(need: float, limit: float) -> float:
    if limit > 0:
        return need / limit - 1
    return float("inf") if need > 0 else 0.0


Found = tuple[list[str], bool]


def _busy_links(case: _Case, device: FleetDevice, need: PredictedDevice) -> Found:
    """Links that a device's layer would overload, and whether that is beyond rounding."""
    if case.longest_s is None:
        return [], False
    slack = TOLERANCE * case.longest_s
    busy_s = _busy_after_s(case, device, need)
    over = {name: s - case.longest_s for name, s in busy_s.items()}
    names = [f"link {name}" for name, s in over.items() if s >= -slack]
    return names, any(s > slack for s in over.values())


def _busy_after_s(case: _Case, device: FleetDevice, need: PredictedDevice) -> dict[str, float]:
    """How long the links on a device's way are busy once it needs so much."""
    now, at, found = case.truth.devices[device.name], device.link, {}
    while at:
        link = case.links[at]
        sent = device.count * (need.upload_bytes - now.upload_bytes)
        received = device.count * (need.download_bytes - now.download_bytes)
        found[at] = (
            case.truth.links[at].busy_s
            + sent / link.uplink_bytes_per_s
            + received / link.downlink_bytes_per_s
        )
        at = link.parent
    return found


def _rank_budget(plan: Plan, shape: Configuration, more: Configuration) -> Found:
    """Whether a layer that the server does not have would pass the rank budget."""
    budget, layer = plan.question.budgets.rank_budget, plan.model.layers - more.depth
    held = shape.ranks[layer] or plan.ranks[layer]
    over = budget is not None and not held and sum(plan.ranks) + more.ranks[layer] > budget
    return (["rank budget"], True) if over else ([], False)


def _wait(case: _Case, device: FleetDevice, need: PredictedDevice) -> Found:
    """Whether a device's layer would make the mean wait too long, and longer than it is."""
    limit_s, whole = case.plan.question.budgets.mean_wait_s, case.truth.round
    if limit_s is None:
        return [], False
    now = case.truth.devices[device.name]
    heads = sum(case.devices[name].count for name in case.truth.devices)
    busy_s = _busy_after_s(case, device, need).values()
    round_s = max([whole.round_time_s, need.time_s, *busy_s])
    mean_s = whole.round_time_s - whole.mean_wait_s
    mean_s += device.count * (need.time_s - now.time_s) / heads
    excess_s = round_s - mean_s - max(limit_s, whole.mean_wait_s)
    slack = TOLERANCE * round_s
    return ["mean wait"] * (excess_s >= -slack), excess_s > slack
