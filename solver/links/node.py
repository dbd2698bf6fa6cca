"""The bound of one part of the plans with shared ranks, links and a mean wait.

At prices of links and wait, and with credits for layers, the program of `solver.links.band`
bounds a part. Every look at other prices or credits is a bound, and a path ends at one node,
so each end may take the look that is worst for it; and of the nodes and round times those are
dropped that lead to nothing better than the best plan known.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from solver.bundle import GROWS, PATIENCE, SHRINKS, Planes
from solver.costs.devices import Floats, Ints
from solver.deadline import expired
from solver.dp.completions import completions
from solver.dp.values import Band, Tables
from solver.links.band import Plane
from solver.links.best import Best
from solver.links.lines import Lines
from solver.links.part import Deadline, Part, floor, hull, inside, round_times
from solver.links.pool import Prices
from solver.links.search import HANDED, ROUNDING, Search

# Lines that are handed down to the parts of a part.
POOL = 100
# Share of the prices by which they may change at first.
RELATIVE = 0.5
# How often the looks asked for may be taken, and what share of the way to the best plan the
# last ones must have gone.
MOST, LAST, HELPS = 4, 4, 0.05
# Share of the way to the best plan that a look at other prices must promise.
CLOSE = 0.2
# Steps of credits: the first, as a share of Polyak's, and what counts as a success.
LONGEST, STEP = 0.6, 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Looks at a part: for the prices, and for the credits before these."""

    steps: int
    charges: int


@dataclass(slots=True, kw_only=True)
class Bounded:
    """A part that was looked at.

    Parameters
    ----------
    bound : float
    deadline : Deadline
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
    deadline: Deadline
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
        deadline=deadline,
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
    lines : Lines
        Those of the part's pool that lie in it, then the best of every look.
    ahead : array, shape (N, L + 1)
        Credits, see `solver.links.band`.
    centre : array
        The best prices, as `Search.vector` has them.
    ends : array or None
        Bound on the plans that end at each node, the lowest over all looks.
    lowest, table, constant, there : float, Tables, float, Prices
        Of the look with the lowest bound.
    """

    deadline: Deadline
    part: Part
    band: Band
    search: Search
    best: Best
    ahead: Floats
    centre: Floats
    lines: Lines
    looks: int = 0
    ends: Floats | None = None
    lowest: float = np.inf
    table: Tables | None = None
    constant: float = 0.0
    there: Prices | None = None

    @classmethod
    def of(cls, deadline: Deadline, part: Part, best: Best) -> Self:
        """Nothing looked at yet."""
        if part.band is not None:
            # Where all must adapt that much, no round is shorter.
            most_s = deadline.shortest_s(
                int(part.band.low[deadline.problem.question.min_depth])
            )
            part = replace(part, low_s=min(max(part.low_s, most_s), part.high_s))
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
            lines=Lines(search=search, planes=Planes.of(len(search.vector(prices)))),
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

    def price(self, steps: int) -> list[tuple[Ints, float]]:
        """Find prices at which the bound is low; the ranks whose mix it is, and their shares.

        They are where the highest of the planes that looks leave is lowest, as in
        `solver.bundle`.
        """
        sizes, least = self.deadline.ranks.steps, self.part.least
        known = [x for x in self.part.pool if inside(x.ranks, sizes, self.band, least)]
        if known:
            self.lines.add(known)
        at, size, failed = self.centre, 1.0, 0
        first = self.search.radius()
        share = RELATIVE / (HANDED if self.search.handed_down else 1.0)
        mixed: list[tuple[Ints, float]] = []
        low = np.inf
        seen: list[float] = []
        for number in range(MOST * steps):
            # More of them while the last ones helped.
            late = number >= steps and len(seen) > LAST
            if late and low > seen[-LAST] - HELPS * (seen[-LAST] - self.floor):
                break
            if self.looks and (self.bound <= self.floor or expired()):
                break
            found = self._filled(self.search.prices_at(at), self.ahead)
            if found is None:
                break
            plane, value = found
            self.lines.teach(plane, value, at)
            seen.append(min(low, value))
            if value < low:
                low, self.centre = value, at
                size, failed = size * (GROWS if number else 1.0), 0
            else:
                failed += 1
                if failed == PATIENCE:
                    size, failed = size * SHRINKS, 0
            # Where nothing keeps the limits, all prices grow without end.
            radius = size * (first + share * self.centre)
            at, model, mixed = self.lines.lowest(self.centre, radius)
            inner = (np.abs(at - self.centre) < radius * (1 - 1e-6)).all()
            if inner and low - model < CLOSE * (low - self.floor):
                break
        return mixed

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
            self.there = prices
        plane = program.plane(table.path(least + depth, place), prices, search.window, ahead)
        assert plane is not None
        return plane, value

    def left(self) -> Part:
        """What may hold a plan that is better than the best."""
        part, search, table = self.part, self.search, self.table
        if table is None or self.there is None or self.lowest == -np.inf:
            return part
        alive = table.flat + completions(table, part.least) + self.constant > self.floor
        band = hull(table.by_prefix(alive), self.band)
        # The slope over the round time is that of the same look.
        low_s, high_s = round_times(search.links, self.there, part, self.lowest - self.floor)
        return replace(
            part,
            low_s=low_s,
            high_s=high_s,
            band=band,
            prices=search.prices,
            ahead=self.ahead,
            pool=self.lines.known[-POOL:],
        )
