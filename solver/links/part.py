"""What a part of the plans with shared ranks, links and a mean wait is.

Round times from one to another, a band of prefix sums, and what the part around it has left:
prices, credits, and ranks that were the best at some prices.
"""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from solver.costs.devices import Floats, Ints
from solver.costs.resource import TOLERANCE
from solver.dp.values import Band
from solver.links.band import BandedRanks
from solver.links.best import Best
from solver.links.graph import Links
from solver.links.own import OwnAtPrices
from solver.links.pool import Prices, Window
from solver.links.search import GAP
from solver.problem import Problem

# Of all that devices might gain: less than nothing, but for rounding.
NOTHING = -1e-9
# Of a round time: what limits may be passed by, and rounding.
SLACK = 4 * TOLERANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """What all parts with one longest round time share.

    Parameters
    ----------
    problem : Problem
        With it as its budget.
    ranks : BandedRanks
    own : OwnAtPrices
    busy_s : array, shape (E,)
        Busy time of every link if every device takes its largest plan.
    bare_s, unit_s : arrays, shape (E + N,)
        Time of every link and device if all adapt the least depth, with nothing on it, and
        what a unit of the prefix sum there adds at least.
    """

    problem: Problem
    ranks: BandedRanks
    own: OwnAtPrices
    busy_s: Floats
    bare_s: Floats
    unit_s: Floats

    @classmethod
    def of(cls, problem: Problem, links: Links, high_s: float) -> Self:
        """Sort the devices of a problem for a longest round time."""
        within = problem.under(round_time_s=high_s)
        own = OwnAtPrices.of(within, links, optimistic=True)
        most = own.units.max(axis=0).clip(0) * own.unit * own.stretch
        ranks = BandedRanks.of(within, links)
        bare_s, unit_s = _least_times(within, links)
        return cls(
            problem=within,
            ranks=ranks,
            own=own,
            busy_s=links.busy_s(most.astype(np.float64), np.ones(len(most), dtype=np.bool_)),
            bare_s=bare_s,
            unit_s=unit_s * ranks.program.table.unit,
        )

    def beyond(self, prefix: int) -> Self:
        """The same where all have at least a prefix sum at the least depth."""
        return replace(self, ranks=BandedRanks(program=self.ranks.program.sharing(prefix)))

    def shortest_s(self, prefix: int) -> float:
        """A round time that plans take at least with this prefix sum at the least depth."""
        return float((self.bare_s + prefix * self.unit_s).max()) * (1 - SLACK)

    def apart_s(self, low_s: float, high_s: float, band: Band) -> float:
        """Where to part round times: near the middle, if can be where a prefix sum begins."""
        least, middle_s = self.problem.question.min_depth, (low_s + high_s) / 2
        low, high = int(band.low[least]), int(band.high[least])
        step = int(self.ranks.steps[:least].min(initial=1))
        starts = [self.shortest_s(p) for p in range(low - low % step, high + 1, step)]
        inside = [s for s in starts if low_s < s < high_s]
        return min(inside, key=lambda s: abs(s - middle_s), default=middle_s)

    def window(self, low_s: float, high_s: float) -> Window:
        """Round times, and the links that may outlast the shortest of them."""
        return Window(
            low_s=low_s,
            high_s=high_s,
            epsilon_s=self.problem.question.budgets.mean_wait_s,
            kept=np.flatnonzero(self.busy_s > low_s),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Ranks as a function of the prices: what they gain, and take of every limit.

    Parameters
    ----------
    ranks : array of int, shape (L,)
    gain : float
        What is left of their worth at no prices.
    busy_s : array, shape (E,)
    own_s : float
        Mean of the devices' own times.
    """

    ranks: Ints
    gain: float
    busy_s: Floats
    own_s: float

    def slope(self, window: Window, round_s: float) -> Floats:
        """What is left of the limits, as `Search.vector` has their prices."""
        spare_s = self.own_s - round_s + (window.epsilon_s or 0.0)
        return np.append(round_s - self.busy_s[window.kept], spare_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Round times, a band of prefix sums, and what is known from the part around it.

    Parameters
    ----------
    low_s, high_s : float
    band : Band or None
        None: no prefix sum is left out.
    least : int
        Layers that somebody adapts at least.
    prices : Prices or None
        To start from.
    ahead : array, shape (N, L + 1), or None
        Credits to start from, see `solver.links.band`.
    pool : list of Line
        Ranks that were the best at some prices around.
    """

    low_s: float
    high_s: float
    band: Band | None
    least: int
    prices: Prices | None = None
    ahead: Floats | None = None
    pool: list[Line] = field(default_factory=list)


def _least_times(problem: Problem, links: Links) -> tuple[Floats, Floats]:
    """Times at the least depth with nothing on it, and of a parameter; links, then devices."""
    costs, least = problem.costs, problem.question.min_depth
    q, c = costs.seconds, costs.devices.class_index
    own_s = q.fixed(c, least) + q.offset
    ratio = q.per_rank[c, :least] / costs.sizes[:least]
    each_s = q.scale * ratio.min(axis=1, initial=np.inf) + q.wire if least else 0.0 * own_s
    through_s = links.through(links.count) * links.s_per_parameter * bool(least)
    return np.append(links.bare_s, own_s), np.append(through_s, each_s)


def floor(problem: Problem, best: Best) -> float:
    """What promises no more is left out: hardly better than the best plan, or none at all."""
    if best.allocation is not None:
        return best.value * (1 + GAP)
    return NOTHING * float(problem.weights.sum() * problem.gains[:, -1].sum())


def inside(ranks: Ints, steps: Ints, band: Band, least: int) -> bool:
    """Whether ranks keep to a band and reach a depth."""
    depth = int((ranks > 0).sum())
    prefix = np.cumsum(ranks * steps)[:depth]
    low, high = band.low[1 : depth + 1], band.high[1 : depth + 1]
    return depth >= least and bool(((prefix >= low) & (prefix <= high)).all())


def hull(alive: npt.NDArray[np.bool_], band: Band) -> Band:
    """First and last prefix sum that is alive by depth, from (K + 1, S + 1) flags."""
    depths, some = len(alive), alive.any(axis=1)
    low, high = np.ones_like(band.low), np.zeros_like(band.high)
    low[:depths] = np.where(some, alive.argmax(axis=1), 1)
    last = alive.shape[1] - 1 - alive[:, ::-1].argmax(axis=1)
    high[:depths] = np.where(some, last, 0)
    return Band(low=low, high=high)


def round_times(links: Links, prices: Prices, part: Part, above: float) -> tuple[float, float]:
    """Round times that lose no more at prices than is left to the best plan."""
    slope = float(prices.links.sum()) - prices.wait * float(links.count.sum())
    if slope == 0 or part.low_s == part.high_s:
        return part.low_s, part.high_s
    width_s = max(above, 0.0) / abs(slope) * (1 + 1e-9)
    if slope > 0:
        return max(part.low_s, part.high_s - width_s), part.high_s
    return part.low_s, min(part.high_s, part.low_s + width_s)
