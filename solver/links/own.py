"""Ranks of its own for every device under priced links: each device alone, one table for all.

With everybody's weight set to 1, V_k(S) is the most a device gains from its last k layers at
prefix sum S (`solver.dp.alone`). At prices Lambda_i of a LoRA parameter and mu of a second,
device i takes

    max over k and S <= h_i(k) of  w_i V_k(S) - Lambda_i S + mu count_i t_i(k, S),

so the sum over devices bounds every plan. Where costs are not in proportion to the layers'
sizes, capacities and times err on the side asked for (`solver.costs.capacity`).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from solver.allocation import LEFT_OUT, Allocation
from solver.costs.capacity import units_by_depth
from solver.costs.devices import Floats, Ints
from solver.dp.alone import alone
from solver.dp.values import Tables
from solver.links.graph import Links
from solver.links.pool import Prices, Window
from solver.problem import Problem

# Devices times prefix sums that are looked at together.
CELLS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnAtPrices:
    """What every device can carry, and what it gains by that.

    Parameters
    ----------
    problem : Problem
    links : Links
    table : Tables
    unit : int
        LoRA parameters in a unit of the prefix sum.
    stretch : float
        Parameters that a unit stands for at most, as a share of `unit`: 1 unless sizes were
        rounded.
    units : array of int, shape (L + 1, N)
        Capacity by depth; -1 where there is none.
    """

    problem: Problem
    links: Links
    table: Tables
    unit: int
    stretch: float
    units: Ints

    @classmethod
    def of(cls, problem: Problem, links: Links, *, optimistic: bool) -> Self:
        """Tabulate what devices carry; see `solver.costs.capacity` for `optimistic`."""
        costs = problem.costs
        unit, steps, table = alone(
            costs.sizes, problem.gains, problem.ranks, optimistic=optimistic
        )
        top = table.values.shape[1] - 1
        units = np.stack(units_by_depth(costs, unit, top, optimistic=optimistic))
        units[: problem.question.min_depth] = -1
        return cls(
            problem=problem,
            links=links,
            table=table,
            unit=unit,
            stretch=float((costs.sizes / (steps * unit)).max()),
            units=units,
        )

    def answer(self, prices: Prices, window: Window) -> tuple[Allocation, float]:
        """Best depth and ranks of every device, and the bound that proves."""
        n = self.units.shape[1]
        best, depth, prefix = np.full(n, -np.inf), np.full(n, LEFT_OUT), np.zeros(n, np.int64)
        price, own_s = self.per_unit(prices), self.fixed_s()
        worth = prices.wait * self.links.count
        for k in range(len(self.units)):
            value, where = self._at(k, price[k])
            value = value + worth * own_s[k]
            better = value > best
            best[better], depth[better], prefix[better] = value[better], k, where[better]
        pairs, row = np.unique(np.stack([depth, prefix], axis=1), axis=0, return_inverse=True)
        rows = np.array([self.table.backtrack(max(int(k), 0), int(s)) for k, s in pairs])
        found = Allocation(rows=rows, row=row.reshape(-1), depth=depth)
        return found, float(best.sum()) + prices.constant(self.links, window)

    def per_unit(self, prices: Prices) -> Floats:
        """Toll of a unit less what its time is worth, shape (L + 1, N)."""
        toll = np.broadcast_to(self.unit * self.links.toll(prices.links), self.units.shape)
        if not prices.wait:
            return np.asarray(toll)
        return np.asarray(toll - prices.wait * self.links.count * self.unit_s())

    def unit_s(self) -> Floats:
        """Time of a unit, at most, of every device by depth, shape (L + 1, N)."""
        costs, q = self.problem.costs, self.problem.costs.seconds
        ratio = np.maximum.accumulate(q.per_rank / costs.sizes, axis=1)
        ratio = np.concatenate([ratio[:, :1], ratio], axis=1)[costs.devices.class_index].T
        return np.asarray(self.unit * self.stretch * (q.scale * ratio + q.wire))

    def fixed_s(self) -> Floats:
        """Time of every device by depth at rank 0, shape (L + 1, N)."""
        q, c = self.problem.costs.seconds, self.problem.costs.devices.class_index
        every = range(len(self.units))
        return np.stack([q.fixed(c, k) for k in every]) + q.offset

    def _at(self, k: int, price: Floats) -> tuple[Floats, Ints]:
        """Best value at depth k and the prefix sum it stands at, both (N,)."""
        gained = self.table.values[k][:, 0]
        value, where = np.full(len(price), -np.inf), np.zeros(len(price), dtype=np.int64)
        live = np.flatnonzero(self.units[k] >= 0)
        sums = np.flatnonzero(np.isfinite(gained))
        if not len(sums):
            return value, where
        for block in np.array_split(live, 1 + len(live) * len(sums) // CELLS):
            if not len(block):
                continue
            net = self.problem.weights[block][:, None] * gained[sums]
            net -= price[block][:, None] * sums
            net[sums > self.units[k][block][:, None]] = -np.inf
            at = net.argmax(axis=1)
            value[block], where[block] = net[np.arange(len(block)), at], sums[at]
        return value, where
