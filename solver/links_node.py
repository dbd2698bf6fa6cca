"""One part of the plans with shared ranks, links and a mean wait: its bound, and what is left.

A part has round times from `low_s` to `high_s` and a band of prefix sums. At prices of links
and wait the program of `solver.links_band` bounds it. A path ends at one node, so each end may
take the prices that are worst for it; and of the nodes and round times those are dropped that
lead to nothing better than the best plan known.
"""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from solver.bundle import GROWS, PATIENCE, SHRINKS, below
from solver.deadline import expired
from solver.devices import Floats, Ints
from solver.dp_completions import completions
from solver.dp_tables import Band, Tables
from solver.links import Links
from solver.links_band import BandedRanks, Plane
from solver.links_best import Best
from solver.links_own import OwnRanks
from solver.links_pool import Prices, Window
from solver.links_search import GAP, ROUNDING, Search
from solver.problem import Problem

# Rank vectors that are handed down to the parts of a part.
POOL = 100
# Share of the way to the best plan that a look at other prices must promise.
CLOSE = 0.2
# Steps of credits: the first, as a share of Polyak's, and what counts as a success.
LONGEST, STEP = 0.6, 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Looks at a part: for the prices, and for the credits before these."""

    steps: int
    charges: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """What all parts with one longest round time share.

    Parameters
    ----------
    problem : Problem
        With it as its budget.
    ranks : BandedRanks
    own : OwnRanks
    busy_s : array, shape (E,)
        Busy time of every link if every device takes its largest plan.
    """

    problem: Problem
    ranks: BandedRanks
    own: OwnRanks
    busy_s: Floats

    @classmethod
    def of(cls, problem: Problem, links: Links, high_s: float) -> Self:
        """Sort the devices of a problem for a longest round time."""
        within = problem.under(round_time_s=high_s)
        own = OwnRanks.of(within, links, optimistic=True)
        most = own.units.max(axis=0).clip(0) * own.unit * own.stretch
        return cls(
            problem=within,
            ranks=BandedRanks.of(within, links),
            own=own,
            busy_s=links.busy_s(most.astype(np.float64), np.ones(len(most), dtype=np.bool_)),
        )

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
        Credits to start from, see `solver.links_band`.
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


@dataclass(slots=True, kw_only=True)
class Bounded:
    """A part that was looked at.

    Parameters
    ----------
    bound : float
    part : Part
        What is left of it.
    search : Search
        For plans within it.
    mixed : list of (array of int, float)
        Ranks whose mix is the bound, heaviest first, and their shares.
    ahead : array, shape (N, L + 1)
    looks : int
        How often the program was filled.
    """

    bound: float
    part: Part
    search: Search
    mixed: list[tuple[Ints, float]]
    ahead: Floats
    looks: int


def bounded(deadline: Deadline, part: Part, best: Best, effort: Effort) -> Bounded:
    """Bound a part from its prices on, and leave out what promises nothing better."""
    looking = _Looking.of(deadline, part, best)
    looking.charge(effort.charges)
    mixed = looking.price(effort.steps)
    looking.search.prices = looking.search.prices_at(looking.centre)
    return Bounded(
        bound=looking.bound,
        part=looking.left(),
        search=looking.search,
        mixed=mixed,
        ahead=looking.ahead,
        looks=looking.looks,
    )


@dataclass(slots=True, kw_only=True)
class _Looking:
    """Looks at a part.

    Parameters
    ----------
    lines : list of Line
        Those of the part's pool that lie in it, then the best of every look.
    ahead : array, shape (N, L + 1)
        Credits, see `solver.links_band`.
    centre : array
        The best prices, as `Search.vector` has them.
    ends : array or None
        Bound on the plans that end at each node, the lowest over all looks.
    lowest, table, constant : float, Tables, float
        Of the look with the lowest bound.
    """

    deadline: Deadline
    part: Part
    band: Band
    search: Search
    best: Best
    ahead: Floats
    centre: Floats
    lines: list[Line] = field(default_factory=list)
    looks: int = 0
    ends: Floats | None = None
    lowest: float = np.inf
    table: Tables | None = None
    constant: float = 0.0

    @classmethod
    def of(cls, deadline: Deadline, part: Part, best: Best) -> Self:
        """Nothing looked at yet."""
        prices = part.prices or Prices(links=np.zeros(len(deadline.own.links.names)))
        search = Search(
            problem=deadline.problem,
            window=deadline.window(part.low_s, part.high_s),
            best=best,
            own=deadline.own,
            prices=prices,
            handed_down=part.prices is not None,
        )
        ahead = part.ahead
        if ahead is None:
            ahead = np.zeros((len(deadline.problem.weights), deadline.problem.layers + 1))
        return cls(
            deadline=deadline,
            part=part,
            band=deadline.ranks.everything() if part.band is None else part.band,
            search=search,
            best=best,
            ahead=ahead,
            centre=search.vector(prices),
        )

    @property
    def bound(self) -> float:
        """The bound that the looks so far prove."""
        if self.ends is None:
            return np.inf
        most = float(self.ends.max())
        return most + ROUNDING * abs(most) if np.isfinite(most) else most

    @property
    def floor(self) -> float:
        """What promises no more than this is left out."""
        return floor(self.deadline.problem, self.best)

    def charge(self, steps: int) -> None:
        """Find credits at which the bound is low, by steps along subgradients.

        Who skips a layer and goes on is credited with less before and more after it. Steps
        are as long as would lead to the floor (Polyak), less where that fails.
        """
        length, failed = LONGEST, 0
        scale = np.square(self.deadline.problem.weights)[:, None]
        ahead, first = self.ahead, self.deadline.problem.question.min_depth + 1
        for _ in range(steps):
            before = self.lowest
            found = self._filled(self.search.prices_at(self.centre), ahead)
            if found is None or self.bound <= self.floor or expired():
                return
            if self.lowest < before - CLOSE * STEP * (before - self.floor):
                failed = 0
            else:
                failed += 1
                if failed == PATIENCE:
                    length, failed = length * SHRINKS, 0
            if self.lowest < before:
                self.ahead = ahead
            plane, value = found
            slope = np.zeros_like(ahead)
            slope[:, first:-1] = plane.taken[:, first:-1]
            slope[:, first:-1] -= plane.taken[:, first + 1 :]
            slope[(slope > 0) & (ahead <= 0)] = 0.0
            norm = float((np.square(slope) * scale).sum())
            if norm == 0:
                return
            ahead = np.maximum(ahead - length * (value - self.floor) / norm * scale * slope, 0)

    def price(self, steps_: int) -> list[tuple[Ints, float]]:
        """Find prices at which the bound is low; the ranks whose mix it is, and their shares.

        They are where the highest of the planes that looks leave is lowest, as in
        `solver.bundle`.
        """
        steps, window = self.deadline.ranks.steps, self.search.window
        self.lines = [
            line
            for line in self.part.pool
            if inside(line.ranks, steps, self.band, self.part.least)
        ]
        at, radius, failed = self.centre, self.search.radius(), 0
        mixed: list[tuple[Ints, float]] = []
        least = np.inf
        for number in range(steps_):
            if self.bound <= self.floor or expired():
                break
            prices = self.search.prices_at(at)
            found = self._filled(prices, self.ahead)
            if found is None:
                break
            plane, value = found
            round_s = prices.round_s(self.search.links, self.search.window)
            # What comes from around may be more than is possible here.
            self.lines = [
                line
                for line in self.lines
                if line.gain + float(line.slope(window, round_s) @ at) <= value
            ]
            self.lines.append(self._line(plane, prices, round_s))
            if value < least:
                least, self.centre = value, at
                radius, failed = radius * (GROWS if number else 1.0), 0
            else:
                failed += 1
                if failed == PATIENCE:
                    radius, failed = radius * SHRINKS, 0
            # With any ranks goes any round time.
            planes = [
                (line.slope(window, end_s), line.gain, 0)
                for end_s in (window.low_s, window.high_s)
                for line in self.lines
            ]
            at, model, weights = below(planes, self.centre, radius)
            weights = weights.reshape(2, -1).sum(axis=0)
            heavy = np.argsort(-weights, kind="stable")[: np.count_nonzero(weights > 0)]
            mixed = [(self.lines[i].ranks, float(weights[i])) for i in heavy]
            inner = (np.abs(at - self.centre) < radius * (1 - 1e-6)).all()
            if inner and least - model < CLOSE * (least - self.floor):
                break
        return mixed

    def _line(self, plane: Plane, prices: Prices, round_s: float) -> Line:
        window, count = self.search.window, float(self.search.links.count.sum())
        tolls = float(prices.links @ plane.left_s) + prices.wait * plane.spare_s
        return Line(
            ranks=plane.ranks,
            gain=plane.value - tolls,
            busy_s=round_s - plane.left_s,
            own_s=plane.spare_s / count + round_s - (window.epsilon_s or 0.0),
        )

    def _filled(self, prices: Prices, ahead: Floats) -> tuple[Plane, float] | None:
        """Fill the program; its answer and the bound, None if the part is empty."""
        search, least, program = self.search, self.part.least, self.deadline.ranks
        self.looks += 1
        table = program.tables(prices, self.band, ahead)
        values = table.flat[least:]
        if not values.size or np.isneginf(values.max()):
            self.ends, self.lowest = np.full((1, 1), -np.inf), -np.inf
            return None
        depth, place = divmod(int(values.argmax()), values.shape[1])
        constant = program.start(prices) + prices.constant(search.links, search.window)
        value = float(values[depth, place]) + constant
        ends = values + constant
        self.ends = ends if self.ends is None else np.minimum(self.ends, ends)
        if value < self.lowest:
            self.lowest, self.table, self.constant = value, table, constant
        plane = program.plane(table.path(least + depth, place), prices, search.window, ahead)
        assert plane is not None
        return plane, value

    def left(self) -> Part:
        """What may hold a plan that is better than the best."""
        part, search, table = self.part, self.search, self.table
        if table is None or self.lowest == -np.inf:
            return part
        alive = table.flat + completions(table, part.least) + self.constant > self.floor
        band = _hull(table.by_prefix(alive), self.band)
        low_s, high_s = _round_times(search, part, self.lowest - self.floor)
        return replace(
            part,
            low_s=low_s,
            high_s=high_s,
            band=band,
            prices=search.prices,
            ahead=self.ahead,
            pool=self.lines[-POOL:],
        )


def floor(problem: Problem, best: Best) -> float:
    """What promises no more is left out: hardly better than the best plan, or none at all."""
    if best.allocation is not None:
        return best.value * (1 + GAP)
    return -1e-9 * float(problem.weights.sum() * problem.gains[:, -1].sum())


def _round_times(search: Search, part: Part, above: float) -> tuple[float, float]:
    """Round times that lose no more than is left to the best plan, at the search's prices."""
    count = float(search.links.count.sum())
    slope = float(search.prices.links.sum()) - search.prices.wait * count
    if slope == 0 or part.low_s == part.high_s:
        return part.low_s, part.high_s
    width_s = max(above, 0.0) / abs(slope) * (1 + 1e-9)
    if slope > 0:
        return max(part.low_s, part.high_s - width_s), part.high_s
    return part.low_s, min(part.high_s, part.low_s + width_s)


def _hull(alive: npt.NDArray[np.bool_], band: Band) -> Band:
    """First and last prefix sum that is alive by depth, from (K + 1, S + 1) flags."""
    depths, some = len(alive), alive.any(axis=1)
    low, high = np.ones_like(band.low), np.zeros_like(band.high)
    low[:depths] = np.where(some, alive.argmax(axis=1), 1)
    last = alive.shape[1] - 1 - alive[:, ::-1].argmax(axis=1)
    high[:depths] = np.where(some, last, 0)
    return Band(low=low, high=high)


def inside(ranks: Ints, steps: Ints, band: Band, least: int) -> bool:
    """Whether ranks keep to a band and reach a depth."""
    depth = int((ranks > 0).sum())
    prefix = np.cumsum(ranks * steps)[:depth]
    low, high = band.low[1 : depth + 1], band.high[1 : depth + 1]
    return depth >= least and bool(((prefix >= low) & (prefix <= high)).all())
