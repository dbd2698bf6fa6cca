"""A bound on plans with caps that keep a mean wait, over all round times.

Within a window of round times what every device takes at given prices and multipliers is
bounded by lines over the round time (`solver.links.sums`), so the bound is convex in it, and
the larger of both ends bounds the window. Windows are halved, best bound first, and hand down
multipliers and prices, which go down the same subgradients together
(`solver.links.descent`).

The first window lies around the best plan's round time. Its descent begins with a few groups
of devices, as these agree sooner, and goes on with more.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count, pairwise

import numpy as np

from solver.allocation import round_time_s
from solver.costs.capacity import units_in_time
from solver.costs.devices import Floats, Ints
from solver.deadline import expired
from solver.links.best import Best
from solver.links.capped_wait import improved
from solver.links.copies import GROUPS, Copies
from solver.links.descent import State, descend_together
from solver.links.own import OwnAtPrices
from solver.links.pool import Prices, between
from solver.links.search import GAP, Search
from solver.links.window import own_ranks

# Groups of devices and steps at the first window; then steps per window.
LEVELS, STEPS = ((16, 30), (48, 80), (GROUPS, 80)), 30
# First share of Polyak's step from what is handed down.
HANDED_LENGTH = 0.2
# Ends of the first windows, as shares of the best plan's round time beyond it.
APART = (-0.03, -0.006, 0.006, 0.03)
WINDOWS, QUICK_WINDOWS = 10, 3
# Relative descent from one window to its halves below which no more is expected.
GAINED = 1e-4
# Units by which room must change within a window for a line to bound it better than its end.
HALF = 0.5
# Share of a window beside the best plan's round time that is cut off, and of what the first
# window leaves above the target that others may leave too.
NEAR, WORTH = 0.25, 0.75
# Changes of single layers for a window that begins afresh; and devices up to which these and
# steps are several times as many, and how many times at most.
FRESH_CHANGES, FEW, MOST_TIMES = 4, 600, 2
# Share of the round time from which on a window is wide.
WIDE = 0.02


def bound_over_rounds(
    at: Callable[[float, float], Search],
    best: Best,
    low_s: float,
    high_s: float,
    *,
    thorough: bool,
) -> float:
    """Bound every plan with a round time between two.

    Parameters
    ----------
    at : callable
        The search over a window of round times.
    best : Best
        With a plan, and with ranks and their prices.
    low_s, high_s : float
    thorough : bool
        Whether to take seconds.
    """
    caps, problem = best.caps, best.problem
    assert best.allocation is not None
    assert caps.ranks is not None
    assert caps.prices is not None
    bounds = Bounds(
        at=at,
        target=best.value * (1 + GAP),
        ranks=caps.ranks,
        prices=caps.prices,
        around_s=round_time_s(problem, best.allocation),
        times=min(max(FEW // len(problem.costs.devices), 1), MOST_TIMES),
    )
    return bounds.over(low_s, high_s, thorough=thorough)


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
    around_s : float
        Its round time.
    times : int
        What steps are multiplied by, for few devices.
    centre : State or None
        Where the first window's descent ended.
    """

    at: Callable[[float, float], Search]
    target: float
    ranks: Ints
    prices: Prices
    around_s: float
    times: int
    centre: State | None = None

    def over(self, low_s: float, high_s: float, *, thorough: bool) -> float:
        """Bound every plan with a round time between two."""
        number, settled, goal = count(), -np.inf, self.target
        queue: list[tuple[float, int, float, float, State | None, bool]] = [
            (-np.inf, next(number), *first, None, False)
            for first in _windows(low_s, high_s, self.around_s)
        ]
        for tried in range(WINDOWS if thorough else QUICK_WINDOWS):
            if not queue or -queue[0][0] <= max(settled, self.target) or expired():
                break
            before, _, low_s, high_s, known, failed = heapq.heappop(queue)
            state: State | None
            state, found = self.window(low_s, high_s, known, max(settled, goal))
            bound = min(found, -before)
            # Much lower than around the best plan helps nobody.
            if not tried:
                self.centre = state
                goal += WORTH * max(bound - goal, 0.0)
            fails = found > -before * (1 - GAINED)
            if fails and failed:
                settled = max(settled, bound)
                continue
            cut_s = self._cut(low_s, high_s)
            # What a wide window learned is of no use to its parts if it was not enough for it.
            state = None if fails and high_s - low_s > WIDE * high_s else state
            for ends in ((low_s, cut_s), (cut_s, high_s)):
                heapq.heappush(queue, (-bound, next(number), *ends, state, fails))
        return max(settled, -queue[0][0] if queue else -np.inf)

    def _cut(self, low_s: float, high_s: float) -> float:
        """Where to cut a window: its end near the best plan's round time says most."""
        near_s = min(max(self.around_s, low_s), high_s)
        share = {low_s: NEAR, high_s: 1 - NEAR}.get(near_s, 0.5)
        return low_s + share * (high_s - low_s)

    def window(
        self, low_s: float, high_s: float, known: State | None, goal: float
    ) -> tuple[State, float]:
        """Bound a window, from what a wider one handed down, if any, down to a goal."""
        search = self.at(low_s, high_s)
        ends = ends_of(search.own, low_s)
        if self.centre is None:
            return self._first(search, ends, goal)
        starts = [
            descend_together(search, state, ends, goal, 1)
            for state in (known, self.centre)
            if state is not None
        ]
        start = min(starts, key=lambda start: start[1])[0]
        return descend_together(search, start, ends, goal, self.times * STEPS, HANDED_LENGTH)

    def _first(
        self, search: Search, ends: tuple[Floats, Floats], goal: float
    ) -> tuple[State, float]:
        """Bound a window from nothing: few groups of devices at first, as they agree sooner."""
        bound, state = own_ranks(search), self._fresh(search)
        for groups, steps in LEVELS:
            finer = state.copies.grouped(groups)
            spread = state.copies.spread(state.multipliers, finer)
            state = replace(state, copies=finer, multipliers=spread)
            state, found = descend_together(search, state, ends, goal, self.times * steps)
            bound = min(bound, found)
            if bound <= goal:
                break
        return state, bound

    def _fresh(self, search: Search) -> State:
        """Content with good ranks at prices between theirs and those of own ranks."""
        window = search.window
        near_s = min(max(self.around_s, window.low_s), window.high_s)
        here = self.at(near_s, near_s)
        found = improved(here, self.ranks, self.prices, FRESH_CHANGES * self.times)
        here.offer(found.ranks, found.pool, found.mix)
        prices = between(search.prices, found.mix.prices, 0.5)
        # At the best round time a second more of it is worth nothing: what links gain the wait
        # takes. Programs of single ranks often price the wait at nothing instead.
        balanced = float(prices.links.sum() / search.links.count.sum())
        prices = replace(prices, wait=max(prices.wait, balanced))
        copies = Copies.of(search.own, prices, found.ranks).grouped(LEVELS[0][0])
        return State(
            copies=copies,
            ranks=found.ranks,
            multipliers=copies.at_rest(found.ranks),
            prices=prices,
            around=copies.price,
        )


def _windows(low_s: float, high_s: float, around_s: float) -> list[tuple[float, float]]:
    """First windows, the one around the best plan's round time first."""
    cuts = [around_s * (1 + share) for share in APART]
    edges = [low_s, *(cut for cut in cuts if low_s < cut < high_s), high_s]
    return sorted(pairwise(edges), key=lambda w: max(w[0] - around_s, around_s - w[1]))


def ends_of(own: OwnAtPrices, low_s: float) -> tuple[Floats, Floats]:
    """Room of every device at a shorter round time and at its own, on a line above the truth.

    Where the round time binds and leaves room for a unit more or less within the window, the
    room is the time's own, in fractions; everywhere else it is what it is at the end.
    """
    problem, units = own.problem, own.units.astype(np.float64)
    high = units_in_time(problem.costs, own.unit)
    low = units_in_time(problem.under(round_time_s=low_s).costs, own.unit)
    # Where the least ranks do not fit half-way, no price there is a good one at the end.
    steps = problem.costs.sizes // own.unit
    least = problem.ranks[0] * np.append(0, np.cumsum(steps))[:, None]
    with np.errstate(invalid="ignore"):
        line = (units >= least) & (low >= least) & (high < units + 1) & (high - low >= HALF)
    return np.where(line, low, units), np.where(line, high, units)
