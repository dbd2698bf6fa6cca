"""Capped ranks under priced links: every device's answer to given shared ranks.

For shared ranks r device i takes ``min(r_l, cap_i)`` on its last k_i layers, whatever is best
at the prices of the links and of the wait. Good shared ranks are climbed to one layer at a
time, with a few hundred devices standing for all.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from solver.allocation import LEFT_OUT, Allocation, device_gains, prefix_sums
from solver.costs.devices import Floats, Ints
from solver.deadline import expired
from solver.links.graph import Links
from solver.links.own import OwnAtPrices
from solver.links.pool import Prices
from solver.problem import Problem
from solver.uniform import largest_that_fit

# Devices that stand for all while ranks are searched.
LIKE = 192
SMALLEST_STEP = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class CappedAnswer:
    """What every device can do with given shared ranks, exactly.

    Parameters
    ----------
    problem : Problem
    links : Links
    rows : array of int, shape (M, L)
        The ranks at every cap.
    gain, size : array, shape (M, L + 1)
        Of a device by cap and depth.
    step_s : array, shape (C, M, L + 1)
        Seconds of a local step by class, cap and depth, without a cache.
    last : array of int, shape (L + 1, N)
        Largest cap that fits at each depth; -1 where none does.
    """

    problem: Problem
    links: Links
    rows: Ints
    gain: Floats
    size: Floats
    step_s: Floats
    last: Ints

    @classmethod
    def of(cls, problem: Problem, links: Links, ranks: Ints) -> Self:
        """Tabulate the answers to ranks by layer from the output, shape (L,)."""
        costs = problem.costs
        caps = problem.ranks[problem.ranks <= ranks.max(initial=problem.ranks[0])]
        rows = np.minimum(ranks, caps[:, None])
        n, depths = len(costs.devices), int((ranks > 0).sum())
        last = np.full((problem.layers + 1, n), LEFT_OUT)
        every = np.arange(problem.question.min_depth, depths + 1)
        last[every] = largest_that_fit(costs, rows, every)
        q = costs.seconds
        slope = prefix_sums(q.per_rank[:, None, :] * rows)
        return cls(
            problem=problem,
            links=links,
            rows=rows,
            gain=device_gains(problem, rows),
            size=prefix_sums(rows * costs.sizes),
            step_s=q.by_depth[:, None, :] + slope,
            last=last,
        )

    def best(self, prices: Prices) -> Allocation:
        """Best depth and cap of every device at these prices."""
        problem, q = self.problem, self.problem.costs.seconds
        c = problem.costs.devices.class_index
        toll, worth = self.links.toll(prices.links), prices.wait * self.links.count
        n, cap = len(c), np.arange(len(self.rows))
        best, row, depth = np.full(n, -np.inf), np.zeros(n, np.int64), np.full(n, LEFT_OUT)
        for k in np.flatnonzero((self.last >= 0).any(axis=1)).tolist():
            per_size = toll - worth * q.wire
            net = (
                problem.weights[:, None] * self.gain[:, k] - per_size[:, None] * self.size[:, k]
            )
            if prices.wait:
                net += (worth * q.scale)[:, None] * self.step_s[c, :, k]
                if q.spare is not None and q.saving is not None:
                    net -= (worth * q.saving * q.spare[c, k])[:, None]
                net += (worth * q.offset)[:, None]
            net[cap > self.last[k][:, None]] = -np.inf
            at = net.argmax(axis=1)
            value = net[np.arange(n), at]
            better = value > best
            best[better], row[better], depth[better] = value[better], at[better], k
        return Allocation(rows=self.rows, row=row, depth=depth)


@dataclass(frozen=True, slots=True, kw_only=True)
class Climb:
    """Coordinate ascent on the shared ranks at fixed prices.

    Parameters
    ----------
    weights : array, shape (G,)
        Of the groups that stand for all devices.
    room : array, shape (G, L + 1)
        Capacity in units, below 0 where the depth is not allowed.
    toll : array, shape (G, L + 1)
        Price of a unit per weight.
    bonus : array, shape (G, L + 1)
        Worth of the time at each depth, per weight.
    """

    problem: Problem
    steps: Ints
    weights: Floats
    room: Floats
    toll: Floats
    bonus: Floats

    @classmethod
    def of(cls, own: OwnAtPrices, prices: Prices) -> Self:
        """Group devices by what a unit costs them and what they can carry."""
        problem = own.problem
        w = problem.weights
        toll = (own.per_unit(prices) / w).T
        bonus = (prices.wait * own.links.count * own.fixed_s() / w).T
        room = own.units.T.astype(np.float64)
        order = np.lexsort((room.sum(axis=1), np.round(_ranked(toll.mean(axis=1)) * 12)))
        starts = np.unique(
            np.linspace(0, len(w), min(LIKE, len(w)), endpoint=False).astype(int)
        )
        weights = np.add.reduceat(w[order], starts)

        def mean(table: Floats) -> Floats:
            return np.add.reduceat(w[order, None] * table[order], starts) / weights[:, None]

        return cls(
            problem=problem,
            steps=np.maximum(problem.costs.sizes // own.unit, 1),
            weights=weights,
            room=mean(room),
            toll=mean(toll),
            bonus=mean(bonus),
        )

    def value(self, ranks: Ints) -> float:
        """Priced utility of the groups' best answers."""
        problem, choices = self.problem, self.problem.ranks
        depth = int((ranks > 0).sum())
        capped = np.minimum(ranks[:depth, None], choices)
        index = np.searchsorted(choices, capped)
        gain = np.cumsum(np.take_along_axis(problem.gains[:depth], index, axis=1), axis=0)
        size = np.cumsum(capped * self.steps[:depth, None], axis=0).astype(np.float64)
        least = problem.question.min_depth
        best = self.bonus[:, 0].copy() if least == 0 else np.full(len(self.weights), -1.0)
        for k in range(max(least, 1), depth + 1):
            net = gain[k - 1] - self.toll[:, k, None] * size[k - 1] + self.bonus[:, k, None]
            net = np.where(size[k - 1] <= self.room[:, k, None], net, -1.0)
            np.maximum(best, net.max(axis=1), out=best)
        return float(np.dot(self.weights, best))

    def ascend(self, ranks: Ints) -> Ints:
        """Change one layer at a time to its best rank until none improves."""
        budget, choices = self.problem.question.budgets.rank_budget, self.problem.ranks
        best = self.value(ranks)
        coarse = np.unique(np.geomspace(1, len(choices), 12).round().astype(np.int64)) - 1
        while True:
            before = best
            for layer in range(int((ranks > 0).sum())):
                if expired():
                    return ranks
                at = int(np.searchsorted(choices, ranks[layer]))
                near = np.union1d(
                    coarse, np.clip(np.arange(at - 3, at + 4), 0, len(choices) - 1)
                )
                for rank in choices[near].tolist():
                    other = ranks.copy()
                    other[layer] = rank
                    if budget is not None and other.sum() > budget:
                        continue
                    value = self.value(other)
                    if value > best + SMALLEST_STEP * abs(best):
                        ranks, best = other, value
            if best <= before + 1e-6 * abs(before):
                return ranks


def _ranked(values: Floats) -> Floats:
    """Place of every value among all, as a share."""
    place = np.empty(len(values))
    place[np.argsort(values, kind="stable")] = np.arange(len(values)) / max(len(values), 1)
    return place
