"""Shared ranks under priced links within a band of prefix sums, for one round time.

The program of `solver.links.shared`, of which only those prefix sums are looked at that a
band allows, and only the ranks that lead from one depth's prefix sums to the next one's.

That program lets a device off a layer in the middle, which is more than a plan may do, and
ranks that are small, large and small again gain by that. So a device i that takes layer k is
credited with ahead[i, k] and charged with ahead[i, k - 1]: whoever takes its layers without a
break ends with a credit, of which nothing is below 0, and whoever skips one pays for it later.
Any credits give a bound; those up to the least depth are 0.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from solver.costs.devices import Floats, Ints
from solver.dp.tables import ranks_between, tables
from solver.dp.values import Band, Tables
from solver.links.graph import Links
from solver.links.pool import Prices, Window
from solver.links.shared import PricedRanks
from solver.problem import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """Given ranks at prices.

    Parameters
    ----------
    ranks : array of int, shape (L,)
    value : float
        What they are worth, the limits' own worth included, if devices may be let off a layer.
    left_s : array, shape (E,)
        Time then left on every link, seconds.
    spare_s : float
        Own times beyond what the wait asks for then, seconds, in all.
    taken : array of bool, shape (N, L + 1)
        Whether a device then takes the layer of each depth; column 0 is true.
    most : float
        What they are worth if nobody may: no plan with these ranks gains more.
    """

    ranks: Ints
    value: float
    left_s: Floats
    spare_s: float
    taken: npt.NDArray[np.bool_]
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BandedRanks:
    """A problem with a round time as its budget, sorted for the dynamic program."""

    program: PricedRanks

    @classmethod
    def of(cls, problem: Problem, links: Links) -> Self:
        """Sort the devices."""
        return cls(program=PricedRanks.of(problem, links))

    @property
    def steps(self) -> Ints:
        """Sizes of the layers, in units."""
        return self.program.table.steps

    def everything(self) -> Band:
        """The band that leaves nothing out."""
        table, problem = self.program.table, self.program.problem
        ends, steps, least = table.ends.copy(), table.steps, problem.question.min_depth
        ends[1 : least + 1] = np.minimum(ends[1 : least + 1], table.least[1 : least + 1])
        low = np.append(0, np.cumsum(steps * int(problem.ranks[0])))
        high = np.append(0, np.cumsum(steps * int(problem.ranks[-1])))
        return Band(low=low, high=np.minimum(high, ends))

    def tables(self, prices: Prices, band: Band, ahead: Floats) -> Tables:
        """Fill the program at prices.

        Parameters
        ----------
        prices : Prices
        band : Band
        ahead : array, shape (N, L + 1)
            What every device is credited with at each depth, see `start`; 0 up to the least.
        """
        program, question = self.program, self.program.problem.question
        change = np.diff(ahead, axis=1)
        return tables(
            program.table,
            program.problem.gains,
            program.problem.ranks,
            min_depth=question.min_depth,
            rank_budget=question.budgets.rank_budget,
            band=band,
            earned=[
                self._earned(prices, band, k, change[:, k - 1])
                for k in range(1, program.problem.layers + 1)
            ],
        )

    def start(self, prices: Prices) -> float:
        """What everybody's time is worth before the first layer."""
        return float(self.program.start(prices).sum())

    def _earned(self, prices: Prices, band: Band, k: int, change: Floats) -> Floats:
        """What layer k earns by rank and prefix sum, shape (R, S + 1), within the band."""
        program = self.program
        ranks, carried = program.problem.ranks, program.carried[k - 1]
        earned = np.zeros((len(ranks), len(carried)))
        low, high = int(band.low[k]), min(int(band.high[k]), len(carried) - 1)
        if low > high:
            return earned
        rows = ranks_between(
            ranks.tolist(),
            int(self.steps[k - 1]),
            low - int(band.high[k - 1]),
            high - int(band.low[k - 1]),
        )
        fewest, most = int(carried[high]), int(carried[low])
        devices = program.order[k - 1][:most]
        each = program.layer(prices, k, devices, rows)
        if k > program.problem.question.min_depth:
            each += change[devices, None]
            np.maximum(each, 0.0, out=each)
        total = np.empty((most - fewest + 1, each.shape[1]))
        total[0] = each[:fewest].sum(axis=0)
        np.cumsum(each[fewest:], axis=0, out=total[1:])
        total[1:] += total[0]
        earned[rows, low : high + 1] = total.take(carried[low : high + 1] - fewest, axis=0).T
        return earned

    def plane(self, ranks: Ints, prices: Prices, window: Window, ahead: Floats) -> Plane | None:
        """What ranks are worth at prices; None where not everybody reaches the least depth."""
        program = self.program
        problem, links = program.problem, program.links
        costs, q, c = problem.costs, problem.costs.seconds, problem.costs.devices.class_index
        least, depth = problem.question.min_depth, int((ranks > 0).sum())
        prefix = np.append(0, np.cumsum(ranks * self.steps))
        if depth < least or (prefix[: least + 1] > program.table.least[: least + 1]).any():
            return None
        sent = np.append(0, np.cumsum(ranks * costs.sizes))[: depth + 1]
        index = np.searchsorted(problem.ranks, ranks[:depth])
        gain = np.append(0.0, np.cumsum(problem.gains[np.arange(depth), index]))
        own_s = np.stack([q.fixed(c, k) for k in range(depth + 1)], axis=1) + q.offset[:, None]
        slope = np.cumsum(q.per_rank[:, :depth] * ranks[:depth], axis=1)
        own_s[:, 1:] += q.scale[:, None] * slope[c]
        own_s += q.wire[:, None] * sent
        worth = problem.weights[:, None] * gain - links.toll(prices.links)[:, None] * sent
        worth += (prices.wait * links.count)[:, None] * own_s
        able = np.stack(program.most[: depth + 1], axis=1) >= prefix[: depth + 1]
        added = np.diff(worth, axis=1)
        charged = added + np.diff(ahead[:, : depth + 1], axis=1)
        taken = np.zeros((len(c), problem.layers + 1), dtype=np.bool_)
        taken[:, 1 : depth + 1] = able[:, 1:] & (charged > 0)
        taken[:, : least + 1] = True
        ours = taken[:, 1 : depth + 1]
        round_s = prices.round_s(links, window)
        size = (ours * np.diff(sent)).sum(axis=1).astype(np.float64)
        left_s = round_s - links.busy_s(size, np.ones(len(c), dtype=np.bool_))
        total_s = float(links.count.sum()) * (round_s - (window.epsilon_s or 0.0))
        taken_s = own_s[:, 0] + (ours * np.diff(own_s, axis=1)).sum(axis=1)
        constant = prices.constant(links, window)
        value = float(worth[:, 0].sum() + (ours * charged).sum()) + constant
        able[:, :least] = False
        worth[~able] = -np.inf
        return Plane(
            ranks=ranks,
            value=value,
            left_s=left_s,
            spare_s=float(np.dot(links.count, taken_s)) - total_s,
            taken=taken,
            most=float(worth.max(axis=1).sum()) + constant,
        )
