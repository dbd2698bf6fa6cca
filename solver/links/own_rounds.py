"""Ranks of their own behind shared links that keep a mean wait, over all round times.

Within a window of round times every device has to the window's end, while the program likes
some round time T of the window best. What bounds the window is too high by what devices gain
between T and the end, so it is cut half-way between these, best bound first; and plans are
made for T alone, where the program is right but for the few devices that it splits.
"""

import heapq
from collections.abc import Callable
from itertools import count

import numpy as np

from solver.deadline import expired
from solver.links.best import Best
from solver.links.pool import Prices
from solver.links.search import GAP, Effort, Search
from solver.links.window import generated, own_plans

# Windows that are looked at, at most.
WINDOWS, QUICK_WINDOWS = 48, 12
# At one round time.
POINT = Effort(steps=0, programs=0, copies=0, few=True)
# Shares of the gap by which the bound must pass the best plan for another to be looked for, and
# the program at the one round time for a window to be cut.
PLANS, CUTS = 0.25, 0.25
# Relative width from which on round times are told apart no more.
SAME = 1e-9


def own_over_rounds(
    at: Callable[[float, float, Prices | None], Search],
    best: Best,
    low_s: float,
    high_s: float,
    *,
    thorough: bool,
) -> float:
    """Offer plans at good round times; a bound on every plan.

    Parameters
    ----------
    at : callable
        The search over a window of round times, from prices if there are any.
    best : Best
    low_s, high_s : float
        All round times.
    thorough : bool
        Whether to take seconds.
    """
    number, settled = count(), best.value if best.allocation is not None else -np.inf
    queue: list[tuple[float, int, float, float, Prices | None]] = [
        (-np.inf, next(number), low_s, high_s, None)
    ]
    for tried in range(WINDOWS if thorough else QUICK_WINDOWS):
        if not queue or -queue[0][0] <= best.value * (1 + GAP) or (tried and expired()):
            break
        before, _, low_s, high_s, prices = heapq.heappop(queue)
        search = at(low_s, high_s, prices)
        _, mix, bound = generated(search)
        bound = min(-before, bound)
        there = -np.inf
        if mix.keeps and bound > best.value * (1 + PLANS * GAP):
            there = _plans(at(mix.round_s, mix.round_s, mix.prices))
        cut_s = (mix.round_s + high_s) / 2
        # What the program is worth at one round time, no window around it is worth less.
        if bound <= there * (1 + CUTS * GAP) or high_s - cut_s <= SAME * high_s:
            settled = max(settled, bound)
            continue
        for ends in ((low_s, cut_s), (cut_s, high_s)):
            heapq.heappush(queue, (-bound, next(number), *ends, search.prices))
    return max(-queue[0][0] if queue else -np.inf, settled)


def _plans(search: Search) -> float:
    """Offer plans at one round time; what the program is worth there."""
    search.begin(POINT)
    pool, mix, _ = generated(search)
    own_plans(search, pool, mix)
    return mix.value if mix.keeps else -np.inf
