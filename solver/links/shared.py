"""Shared ranks under priced links: a bound and new ranks from one dynamic program.

At prices Lambda_i of a LoRA parameter and mu of a second, layer k at prefix sum S and rank r
earns

    sum over i with h_i(k) >= S of  (w_i gain[k, r] - Lambda_i s_k r + mu count_i (t_i(k, r)))^+

with t_i(k, r) what the layer adds to the device's time: a device that would lose by the layer
is let off (`solver.costs.capacity` has h_i). Up to the least depth nobody is. Letting a device
off in the middle of its layers is more than a plan may do, so the program of `solver.dp` bounds
every plan.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from solver.costs.capacity import Capacity, capacity, units_by_depth
from solver.costs.devices import Floats, Ints
from solver.costs.resource import TOLERANCE
from solver.dp.shared import SharedRanks
from solver.links.graph import Links
from solver.links.pool import Prices, Window
from solver.problem import Problem
from solver.shapes import shaped_ranks

# Of a unit: what rounding may take off.
ROUNDED = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedRanks:
    """The devices of a problem sorted for the dynamic program.

    Parameters
    ----------
    problem : Problem
    links : Links
    table : Capacity
    most : list of arrays of int, shape (N,)
        What every device can carry, in units, at each depth from 0 on; -1: not that depth.
    order : list of arrays, shape (N,)
        Devices by falling capacity at each depth from 1 on.
    carried : list of arrays of int, shape (S + 1,)
        How many of them carry each prefix sum.
    """

    problem: Problem
    links: Links
    table: Capacity
    most: list[Ints]
    order: list[Ints]
    carried: list[Ints]

    @classmethod
    def of(cls, problem: Problem, links: Links) -> Self:
        """Sort the devices of a problem by what they can carry."""
        top_rank = problem.question.rank_choices[-1]
        table = capacity(problem.costs, problem.weights, top_rank, optimistic=True)
        table = replace(table, least=_everybodys(problem, links, table))
        top = table.reach.shape[1] - 1
        most = units_by_depth(problem.costs, table.unit, top, optimistic=True)
        order, carried = _sorted(most, top)
        return cls(
            problem=problem, links=links, table=table, most=most, order=order, carried=carried
        )

    def sharing(self, prefix: int) -> Self:
        """Leave every device what its links do if all adapt the least depth at a prefix sum."""
        problem, links = self.problem, self.links
        limit_s, least = problem.question.budgets.round_time_s, problem.question.min_depth
        if limit_s is None or not least:
            return self
        each = np.maximum(links.s_per_parameter * self.table.unit, 1e-300)
        room = (limit_s * (1 + TOLERANCE) - links.bare_s) / each
        room -= links.through(links.count) * prefix
        left = np.where(links.above, room, np.inf).min(axis=1)
        own = np.append(left, np.inf)[links.own] / links.count
        units = np.floor(np.clip(prefix + own, -1, self.table.reach.shape[1] - 1) + ROUNDED)
        most = [self.most[0], *(np.minimum(u, units).astype(np.int64) for u in self.most[1:])]
        order, carried = _sorted(most, self.table.reach.shape[1] - 1)
        return replace(self, most=most, order=order, carried=carried)

    def solve(self, prices: Prices, window: Window) -> tuple[SharedRanks | None, float]:
        """Best ranks at these prices and the bound they prove; -inf where there is no plan."""
        problem, question = self.problem, self.problem.question
        found = shaped_ranks(
            question.rank_shape,
            self.table,
            problem.gains,
            problem.ranks,
            min_depth=question.min_depth,
            rank_budget=question.budgets.rank_budget,
            earned=[self._earned(prices, k) for k in range(1, problem.layers + 1)],
        )
        if found is None:
            return None, -np.inf
        start = float(self.start(prices).sum())
        return found, found.value + start + prices.constant(self.links, window)

    def start(self, prices: Prices) -> Floats:
        """What the time of every device is worth at depth 0, shape (N,)."""
        q, c = self.problem.costs.seconds, self.problem.costs.devices.class_index
        if not prices.wait:
            return np.zeros(len(c))
        return np.asarray(prices.wait * self.links.count * (q.fixed(c, 0) + q.offset))

    def by_device(self, prices: Prices) -> Floats:
        """What every device earns by a layer at a rank, shape (N, L, R)."""
        every, all_ranks = np.arange(len(self.problem.weights)), slice(None)
        return np.stack(
            [
                self.layer(prices, k, every, all_ranks)
                for k in range(1, self.problem.layers + 1)
            ],
            axis=1,
        )

    def layer(self, prices: Prices, k: int, devices: Ints, rows: slice) -> Floats:
        """What n devices earn by layer k at some of the ranks, shape (n, R)."""
        problem, costs = self.problem, self.problem.costs
        c, ranks = costs.devices.class_index[devices], problem.ranks[rows]
        step = int(costs.sizes[k - 1])
        slope = -self.links.toll(prices.links)[devices] * step
        each = problem.weights[devices, None] * problem.gains[k - 1, rows]
        if not prices.wait:
            each += slope[:, None] * ranks
            return np.asarray(each)
        q, worth = costs.seconds[devices], prices.wait * self.links.count[devices]
        fixed = worth * (q.fixed(c, k) - q.fixed(c, k - 1))
        slope = slope + worth * (q.scale * q.per_rank[c, k - 1] + q.wire * step)
        each += slope[:, None] * ranks + fixed[:, None]
        return np.asarray(each)

    def _earned(self, prices: Prices, k: int) -> Floats:
        """What layer k earns by rank and prefix sum, shape (R, S + 1)."""
        each = self.layer(prices, k, self.order[k - 1], slice(None))
        if k > self.problem.question.min_depth:
            np.maximum(each, 0.0, out=each)
        total = np.concatenate([np.zeros((1, each.shape[1])), np.cumsum(each, axis=0)])
        return total[self.carried[k - 1]].T

    def slack(self, found: SharedRanks, prices: Prices, window: Window) -> tuple[Floats, float]:
        """Subgradient of the bound: what the limits leave at the program's own answer.

        Returns
        -------
        tuple of (array of shape (E,), float)
            ``T - busy_e`` and ``sum_i count_i t_i - C (T - epsilon)``, seconds.
        """
        problem, costs, links = self.problem, self.problem.costs, self.links
        q, c = costs.seconds, costs.devices.class_index
        size, own_s = np.zeros(len(c)), q.fixed(c, 0) + q.offset
        depth = int((found.ranks > 0).sum())
        prefix = np.cumsum(found.ranks * self.table.steps)
        for k in range(1, depth + 1):
            rank, step = int(found.ranks[k - 1]), int(costs.sizes[k - 1])
            able = self.order[k - 1][: self.carried[k - 1][prefix[k - 1]]]
            added_s = q.fixed(c, k) - q.fixed(c, k - 1)
            added_s = added_s + rank * (q.scale * q.per_rank[c, k - 1] + q.wire * step)
            gain = problem.gains[k - 1, np.searchsorted(problem.ranks, rank)]
            earns = problem.weights * gain - links.toll(prices.links) * step * rank
            earns += prices.wait * links.count * added_s
            taken = np.zeros(len(c), dtype=np.bool_)
            taken[able] = True
            if k > problem.question.min_depth:
                taken &= earns > 0
            size += np.where(taken, step * rank, 0.0)
            own_s = own_s + np.where(taken, added_s, 0.0)
        count = float(links.count.sum())
        round_s = prices.round_s(links, window)
        busy = links.busy_s(size, np.ones(len(c), dtype=np.bool_))
        left = np.zeros(len(links.names))
        left[window.kept] = round_s - busy[window.kept]
        kept_s = float(np.dot(links.count, own_s)) - count * (round_s - (window.epsilon_s or 0))
        return left, kept_s


def _sorted(most: list[Ints], top: int) -> tuple[list[Ints], list[Ints]]:
    """Devices by falling capacity, and how many carry each prefix sum, by depth from 1 on."""
    grid = np.arange(top + 1)
    return (
        [np.argsort(-u, kind="stable") for u in most[1:]],
        [len(u) - np.searchsorted(np.sort(u), grid) for u in most[1:]],
    )


def _everybodys(problem: Problem, links: Links, table: Capacity) -> Ints:
    """Largest prefix sum that everybody carries over the links at once, by depth, (L + 1,).

    Up to the least depth all devices send the same parameters, so a link limits the prefix sum
    itself, whatever its price.
    """
    least, limit_s = table.least.copy(), problem.question.budgets.round_time_s
    if limit_s is None:
        return least
    through = links.through(links.count)
    room = limit_s * (1 + TOLERANCE) - links.bare_s
    each = np.maximum(through * links.s_per_parameter * table.unit, 1e-300)
    top = table.reach.shape[1] - 1
    most = int(np.clip(np.floor(room / each).min(initial=top), -1, top))
    forced = slice(1, problem.question.min_depth + 1)
    least[forced] = np.minimum(least[forced], most)
    return least
