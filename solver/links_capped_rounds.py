"""A bound on plans with caps that keep a mean wait, over all round times.

Within a window of round times what every device takes at given prices and multipliers is
bounded by lines over the round time (`solver.links_sums`), so the bound is convex in it, and
the larger of both ends bounds the window. Windows are halved, best bound first, and hand down
multipliers and prices, which go down the same subgradients together
(`solver.links_descent`).

The first window lies around the best plan's round time. Its descent begins with a few groups
of devices, as these agree sooner, and goes on with more.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count, pairwise

import numpy as np

from solver.capacity import units_in_time
from solver.deadline import expired
from solver.devices import Floats, Ints
from solver.links_copies import GROUPS, Copies
from solver.links_descent import State, descend_together
from solver.links_own import OwnRanks
from solver.links_pool import Prices
from solver.links_search import Search
from solver.links_window import own_ranks

# Groups of devices and steps at the first window; then steps per window.
LEVELS, STEPS = ((16, 80), (48, 80), (GROUPS, 80)), 25
# First share of Polyak's step there, and how far prices are moved to begin with.
HANDED_LENGTH, MOVED = 0.5, (0.0, 0.5, 1.0, 2.0)
# Ends of the first windows, as shares of the best plan's round time beyond it.
APART = (-0.04, -0.012, -0.003, 0.003, 0.012, 0.04)
WINDOWS, QUICK_WINDOWS = 20, 6


@dataclass(slots=True, kw_only=True)
class Bounds:
    """Windows of round times, and what bounds each.

    Parameters
    ----------
    at : callable
        The search over a window.
    target : float
        A bound that is low enough.
    ranks : array of int, shape (L,)
        Of the best plan.
    prices : Prices
        Of the program at these ranks.
    centre : State or None
        Where the first window's descent ended.
    own : Prices or None
        Those of own ranks in the first window.
    """

    at: Callable[[float, float], Search]
    target: float
    ranks: Ints
    prices: Prices
    centre: State | None = None
    own: Prices | None = None

    def over(self, low_s: float, high_s: float, around_s: float, *, thorough: bool) -> float:
        """Bound every plan with a round time between two."""
        number = count()
        queue: list[tuple[float, int, float, float, State | None]] = [
            (-np.inf, next(number), *first, None) for first in _windows(low_s, high_s, around_s)
        ]
        for _ in range(WINDOWS if thorough else QUICK_WINDOWS):
            before, _, low_s, high_s, state = queue[0]
            if -before <= self.target or expired():
                break
            heapq.heappop(queue)
            state, bound = self.window(low_s, high_s, state)
            self.centre = self.centre or state
            bound = min(bound, -before)
            middle_s = (low_s + high_s) / 2
            if before == -np.inf:
                heapq.heappush(queue, (-bound, next(number), low_s, high_s, state))
                continue
            heapq.heappush(queue, (-bound, next(number), low_s, middle_s, state))
            heapq.heappush(queue, (-bound, next(number), middle_s, high_s, state))
        return -queue[0][0]

    def window(self, low_s: float, high_s: float, known: State | None) -> tuple[State, float]:
        """Bound a window, from what a wider one handed down, if any."""
        search = self.at(low_s, high_s)
        ends = ends_of(search.own, low_s)
        if known is not None:
            return descend_together(
                search, known, ends, self.ranks, self.target, STEPS, HANDED_LENGTH
            )
        bound = own_ranks(search)
        if self.centre is None:
            state, found = self._first(search, ends)
        elif bound <= self.target:
            return self.centre, bound
        else:
            state = self._moved(search, ends, self.centre)
            state, found = descend_together(
                search, state, ends, self.ranks, self.target, STEPS, HANDED_LENGTH
            )
        return state, min(bound, found)

    def _first(self, search: Search, ends: tuple[Floats, Floats]) -> tuple[State, float]:
        """Descend from prices between those of own ranks and those of the best plan's ranks."""
        self.own = search.prices
        prices = between(self.own, self.prices, 0.5)
        copies = Copies.of(search.own, prices, self.ranks).grouped(LEVELS[0][0])
        state = State(
            copies=copies,
            multipliers=copies.at_rest(self.ranks),
            prices=prices,
            around=copies.price,
        )
        for groups, steps in LEVELS:
            finer = state.copies.grouped(groups)
            spread = state.copies.spread(state.multipliers, finer)
            state = replace(state, copies=finer, multipliers=spread)
            state, bound = descend_together(search, state, ends, self.ranks, self.target, steps)
            if bound <= self.target:
                break
        return state, bound

    def _moved(self, search: Search, ends: tuple[Floats, Floats], centre: State) -> State:
        """The first window's multipliers, at prices that moved as those of own ranks did."""
        assert self.own is not None
        before = centre.copies.at(search.own, centre.prices)
        best, least = centre, np.inf
        for share in MOVED:
            prices = moved(centre.prices, self.own, search.prices, share)
            copies = centre.copies.at(search.own, prices)
            # Who was content with the best plan's ranks stays so.
            rest = copies.at_rest(self.ranks) - before.at_rest(self.ranks)
            state = replace(centre, prices=prices, multipliers=centre.multipliers + rest)
            state, bound = descend_together(search, state, ends, self.ranks, self.target, 1)
            if bound < least:
                best, least = state, bound
        return best


def between(one: Prices, other: Prices, share: float) -> Prices:
    """Prices between two."""
    return Prices(
        links=one.links + share * (other.links - one.links),
        wait=one.wait + share * (other.wait - one.wait),
    )


def moved(prices: Prices, here: Prices, there: Prices, share: float) -> Prices:
    """Prices that move by a share of the way between two others, none below 0."""
    return Prices(
        links=np.maximum(prices.links + share * (there.links - here.links), 0.0),
        wait=max(prices.wait + share * (there.wait - here.wait), 0.0),
    )


def _windows(low_s: float, high_s: float, around_s: float) -> list[tuple[float, float]]:
    """First windows, the one around the best plan's round time first."""
    cuts = [around_s * (1 + share) for share in APART]
    edges = [low_s, *(cut for cut in cuts if low_s < cut < high_s), high_s]
    return sorted(pairwise(edges), key=lambda w: max(w[0] - around_s, around_s - w[1]))


def ends_of(own: OwnRanks, low_s: float) -> tuple[Floats, Floats]:
    """Room of every device at a shorter round time and at its own, on a line above the truth.

    Where the round time binds and leaves room for a unit more or less within the window, the
    room is the time's own, in fractions; everywhere else it is what it is at the end.
    """
    problem, units = own.problem, own.units.astype(np.float64)
    high = units_in_time(problem.costs, own.unit)
    low = units_in_time(problem.under(round_time_s=low_s).costs, own.unit)
    with np.errstate(invalid="ignore"):
        line = (units >= 0) & (high < units + 1) & (high - low >= 1)
    return np.where(line, low, units), np.where(line, high, units)
