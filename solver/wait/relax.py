"""What plans with a round time in [a, b] can reach, once everything hangs on the ranks.

Under a deadline b every device goes as deep as it can: that is best for the utility and, as
its own time grows with its depth, for the wait. So layer k at prefix sum S and rank r adds

    W_k(S) gain[k, r]   to the utility, and   fixed_s[k, S] + r per_rank_s[k, S]

to the sum of the own times, both over the devices that can carry S in time, and the mean wait
asks for a sum of at least ``C (a - epsilon)``, with C devices in all. Every plan with a round
time in [a, b] keeps this, so the best ranks that do bound it.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from solver.costs.capacity import Capacity, capacity, units_by_depth
from solver.costs.devices import Floats, Ints
from solver.costs.resource import TOLERANCE, Costs
from solver.dp.tables import tables
from solver.dp.values import Band, Prices, Tables
from solver.problem import Problem

# Sums of own times are rounded; relative to all devices at the deadline.
ROUNDING = 1e-11


def under_deadline(costs: Costs, deadline_s: float) -> Costs:
    """Costs with another limit on the round time."""
    limit = np.broadcast_to(np.float64(deadline_s), len(costs.devices))
    seconds = replace(costs.seconds, limit=limit)
    others = [q for q in costs.resources if q.name != seconds.name]
    return replace(costs, seconds=seconds, resources=(seconds, *others))


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxed:
    """The problem under a deadline.

    Parameters
    ----------
    problem : Problem
    capacity : Capacity
        Optimistic, under the deadline.
    bare_s : float
        Sum of the own times at depth 0, or 1 where nobody may stay at 0.
    sums : array, shape (L, 3, S + 1)
        Weight of the devices, and what layer k adds at prefix sum S per rank and beside, see
        `solver.dp.values.Prices`.
    rounding_s : float
        How far a sum of own times may be off.
    """

    problem: Problem
    capacity: Capacity
    bare_s: float
    sums: Floats
    rounding_s: float

    @property
    def per_rank_s(self) -> Floats:
        """What layer k adds at prefix sum S and rank 1, shape (L, S + 1)."""
        return self.sums[:, 1]

    @property
    def fixed_s(self) -> Floats:
        """What layer k adds at prefix sum S beside, shape (L, S + 1)."""
        return self.sums[:, 2]

    @property
    def nbytes(self) -> int:
        """Bytes of its tables."""
        return self.sums.nbytes + self.capacity.reach.nbytes

    @classmethod
    def at(cls, problem: Problem, deadline_s: float) -> Self | None:
        """Aggregate the devices; None if not all reach the least depth in time."""
        costs, question = under_deadline(problem.costs, deadline_s), problem.question
        table = capacity(costs, problem.weights, question.rank_choices[-1], optimistic=True)
        if table.least[question.min_depth] < 0:
            return None
        return cls.of(problem, costs, table)

    @classmethod
    def of(cls, problem: Problem, costs: Costs, table: Capacity) -> Self:
        """Aggregate the devices by capacities that are known.

        Parameters
        ----------
        problem : Problem
        costs : Costs
            Its costs, under the deadline.
        table : Capacity
            Optimistic.
        """
        question, deadline_s = problem.question, float(costs.seconds.limit[0])
        q, c, counts = costs.seconds, costs.devices.class_index, costs.devices.count
        top = table.reach.shape[1] - 1
        few = None if table.units is None else list(table.units)
        units = few or units_by_depth(costs, table.unit, top, optimistic=True)
        # Everybody is this deep at least: its time is no reward of a layer.
        first = min(question.min_depth, 1)
        held_s = np.empty((problem.layers, 2, top + 2))
        for k in range(1, problem.layers + 1):
            # With a cache the first layer may save time, and whoever adapts none wait less.
            deeper_s = np.maximum(q.fixed(c, k) - q.fixed(c, max(k - 1, first)), 0.0) * counts
            slope_s = (q.scale * q.per_rank[c, k - 1] + q.wire * costs.sizes[k - 1]) * counts
            if q.flat is not None:
                slope_s += q.flat * counts
            for into, added_s in zip(held_s[k - 1], (slope_s, deeper_s), strict=True):
                into[:] = np.bincount(units[k] + 1, weights=added_s, minlength=top + 2)
        sums = np.empty((problem.layers, 3, top + 1))
        sums[:, 0] = table.reach[1:]
        held_s[:, :, :0:-1].cumsum(axis=2, out=sums[:, 1:, ::-1])
        return cls(
            problem=problem,
            capacity=table,
            bare_s=float(np.dot(q.fixed(c, first) + q.offset, counts)),
            sums=sums,
            rounding_s=ROUNDING * float(counts.sum()) * deadline_s,
        )

    def needed_s(self, start_s: float, epsilon_s: float) -> float:
        """Sum of own times, beyond `bare_s`, that a round time of `start_s` asks for."""
        total = float(self.problem.costs.devices.count.sum())
        patient_s = epsilon_s * (1 + 2 * TOLERANCE)
        return total * (start_s - patient_s) - self.bare_s - self.rounding_s

    def round_time_s(self, total_s: float, epsilon_s: float) -> float:
        """Longest round time for which a sum of own times is enough."""
        total = float(self.problem.costs.devices.count.sum())
        return (total_s + self.bare_s + self.rounding_s) / total + epsilon_s

    def prices(self, price: float) -> Prices | None:
        """Reward of own time at a price per second; None at 0."""
        if price == 0:
            return None
        return Prices(sums=self.sums, price=price)

    def priced(self, price: float, band: Band | None) -> Tables:
        """Fill the dynamic program with a price per second of own time."""
        question = self.problem.question
        return tables(
            self.capacity,
            self.problem.gains,
            self.problem.ranks,
            min_depth=question.min_depth,
            rank_budget=question.budgets.rank_budget,
            prices=self.prices(price),
            band=band,
        )

    def reached(self, rows: Ints) -> tuple[Floats, Floats]:
        """Utility and own times of rank vectors, shape (M, L): two arrays of shape (M,).

        The utility is minus infinity where not all reach the least depth.
        """
        problem, reach = self.problem, self.capacity.reach
        prefix = np.cumsum(rows * self.capacity.steps, axis=1)
        layer = np.arange(problem.layers)
        weight = reach[layer + 1, prefix]
        live = np.logical_and.accumulate((weight > 0) & (rows > 0), axis=1)
        index = np.searchsorted(problem.ranks, rows).clip(max=len(problem.ranks) - 1)
        own_s = self.fixed_s[layer, prefix] + rows * self.per_rank_s[layer, prefix]
        gained = np.where(live, weight * problem.gains[layer, index], 0.0).sum(axis=1)
        least = problem.question.min_depth
        held = live[:, :least] & (prefix[:, :least] <= self.capacity.least[1 : least + 1])
        gained[~held.all(axis=1)] = -np.inf
        return gained, np.where(live, own_s, 0.0).sum(axis=1)
