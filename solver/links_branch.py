"""Shared ranks behind links with a mean wait: branch on round times and on prefix sums.

One set of prices leaves a gap, for the bound mixes round times and rank vectors of which each
breaks a limit: one sends too much, another waits too long. The part of the plans with the
largest bound is halved, its round times while they are worth much at its prices, else the
prefix sums of the depth where the mixed rank vectors lie farthest apart (`solver.links_node`).
Ranks of the mix, and those in their middle, become plans.
"""

import heapq
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np

from solver.deadline import expired
from solver.devices import Ints
from solver.links import Links
from solver.links_best import Best
from solver.links_node import Bounded, Deadline, Effort, Part, bounded, floor
from solver.links_pool import Window, best_mix
from solver.links_search import GAP
from solver.links_settle import settled
from solver.problem import Problem

# Looks at a part's bound, at the first one and at the others.
FIRST, EACH = Effort(steps=40, charges=0), Effort(steps=6, charges=10)
# Deadlines whose tables are kept.
DEADLINES = 16
# Relative width from which on round times are told apart no more.
SAME = 1e-9
# Share of the gap that halving the round times must promise.
WORTH_HALVING = 0.25
NODES = 10_000
DEBUG = False


@dataclass(slots=True, kw_only=True)
class _Search:
    problem: Problem
    links: Links
    best: Best
    deadlines: dict[float, Deadline] = field(default_factory=dict)
    settled: float = -np.inf
    tried: dict[tuple[int, ...], float] = field(default_factory=dict)

    def deadline(self, high_s: float) -> Deadline:
        """Return the problem within a longest round time."""
        if high_s not in self.deadlines:
            while len(self.deadlines) >= DEADLINES:
                self.deadlines.pop(next(iter(self.deadlines)))
            self.deadlines[high_s] = Deadline.of(self.problem, self.links, high_s)
        return self.deadlines[high_s]


def branch(problem: Problem, links: Links, whole: Window, best: Best, work: float) -> float:
    """Look for better plans; a bound on all of them."""
    search, number = _Search(problem=problem, links=links, best=best), count()
    least = problem.question.min_depth
    first = Part(low_s=whole.low_s, high_s=whole.high_s, band=None, least=least)
    queue = [(-np.inf, next(number), first)]
    for _ in range(NODES):
        if not queue or -queue[0][0] <= floor(problem, best) or expired() or work < 0:
            break
        above, _, part = heapq.heappop(queue)
        found = bounded(search.deadline(part.high_s), part, best, EACH if part.prices else FIRST)
        work -= found.looks
        bound = min(-above, found.bound)
        if bound > floor(problem, best):
            work -= _plans(search, found)
        if bound <= floor(problem, best):
            search.settled = max(search.settled, bound)
            if DEBUG: print(f"  cut {bound:.6f}", part.low_s, part.high_s)
            continue
        search.settled = max(search.settled, floor(problem, best))
        parts = _halves(search, found, bound)
        if DEBUG:
            print(f"{_} bound {bound:.6f} own {found.bound:.6f} value {best.value:.6f} T [{part.low_s:.3f},{part.high_s:.3f}] -> [{found.part.low_s:.3f},{found.part.high_s:.3f}] cells {int((part.band.high-part.band.low+1).sum()) if part.band else 0} -> {int((found.part.band.high-found.part.band.low+1).clip(0).sum())} looks {found.looks} queue {len(queue)} mixed {len(found.mixed)} {'T' if parts and parts[0].high_s != parts[-1].high_s else 'B' if parts else '-'}", flush=True)
        if not parts:
            search.settled = max(search.settled, bound)
        for each in parts:
            heapq.heappush(queue, (-bound, next(number), each))
    known = best.value if best.allocation is not None else -np.inf
    if DEBUG: print('nodes', _, 'work left', work)
    return max(-queue[0][0] if queue else -np.inf, search.settled, known)


def _plans(search: _Search, found: Bounded) -> float:
    """Make plans of ranks in the mix and in its middle; how much work that was."""
    proposed = [ranks for ranks, _ in found.mixed[:2]]
    middle = _middle(search.problem, found)
    if middle is not None:
        proposed.append(middle)
    spent = 0.0
    for ranks in proposed:
        key = tuple(ranks.tolist())
        if key in search.tried and search.tried[key] <= search.best.value:
            continue
        plane = search.deadlines[found.search.window.high_s].ranks.plane(
            ranks, found.search.prices, found.search.window, found.ahead
        )
        if plane is None or plane.most <= search.best.value:
            continue
        if key in search.tried:
            continue
        search.tried[key] = _plan(search, found, ranks)
        spent += 3
    return spent


def _plan(search: _Search, found: Bounded, ranks: Ints) -> float:
    """Make plans of ranks within a part; what mixes of them are worth."""
    here, best = found.search, search.best
    pool = here.depths(ranks)
    if not pool.rows or not np.isfinite(pool.value).any(axis=1).all():
        return -np.inf
    mix = best_mix(pool, search.links, here.window)
    if not mix.keeps or mix.value <= best.value:
        return mix.value if mix.keeps else -np.inf
    here.round(pool, mix)
    v0 = best.value
    if mix.value > best.value * (1 + GAP):
        chosen = settled(pool, search.links, here.window, mix, mix.round_s)
        if chosen is not None:
            best.offer(pool.allocation(chosen))
    if DEBUG: print('   plan LP', mix.value, 'round', v0, 'settled', best.value)
    return mix.value


def _middle(problem: Problem, found: Bounded) -> Ints | None:
    """Ranks in the middle of those that the bound mixes."""
    if len(found.mixed) < 2:
        return None
    rows = np.array([ranks for ranks, _ in found.mixed])
    weights = np.array([weight for _, weight in found.mixed])
    depth = int(((rows > 0) * weights[:, None] / weights.sum()).sum(axis=0).round().sum())
    mean = (rows * weights[:, None]).sum(axis=0) / np.maximum(
        ((rows > 0) * weights[:, None]).sum(axis=0), 1e-12
    )
    nearest = np.abs(mean[:, None] - problem.ranks).argmin(axis=1)
    ranks = problem.ranks[nearest]
    ranks[depth:] = 0
    budget = problem.question.budgets.rank_budget
    return ranks if budget is None or ranks.sum() <= budget else None


def _halves(search: _Search, found: Bounded, bound: float) -> list[Part]:
    """Halve what is left of a part; nothing if it cannot be."""
    part, prices = found.part, found.search.prices
    width_s = part.high_s - part.low_s
    worth = prices.wait * float(search.links.count.sum()) * width_s
    gap = bound - search.best.value
    wide = width_s > SAME * part.high_s
    if not (wide and worth > WORTH_HALVING * gap):
        halves = _cut_band(search, found)
        if halves:
            return halves
    if not wide:
        return []
    middle_s = (part.low_s + part.high_s) / 2
    return [replace(part, high_s=middle_s), replace(part, low_s=middle_s)]


def _cut_band(search: _Search, found: Bounded) -> list[Part]:
    """Part the rank vectors that the bound mixes, where they lie farthest apart."""
    part, band = found.part, found.part.band
    if band is None or len(found.mixed) < 2:
        return []
    steps = search.deadlines[found.search.window.high_s].ranks.steps
    rows = np.array([ranks for ranks, _ in found.mixed])
    weights = np.array([weight for _, weight in found.mixed])
    prefix = np.cumsum(rows * steps, axis=1)
    there = (rows > 0) * weights[:, None]
    total = there.sum(axis=0)
    mean = (prefix * there).sum(axis=0) / np.maximum(total, 1e-300)
    apart = (np.abs(prefix - mean) * there).sum(axis=0)
    spread = band.high[1:] > band.low[1:]
    apart = np.where(spread & (total > 0), apart, 0.0)
    at = int(apart.argmax())
    if apart[at] <= 0:
        return _cut_depth(found, rows, weights)
    cut = int(np.clip(np.floor(mean[at]), band.low[at + 1], band.high[at + 1] - 1))
    low, high = band.low.copy(), band.high.copy()
    high[at + 1] = cut
    low[at + 1] = cut + 1
    # Who stops before is in the first.
    return [
        replace(part, band=replace(band, high=high)),
        replace(part, band=replace(band, low=low), least=max(part.least, at + 1)),
    ]


def _cut_depth(found: Bounded, rows: Ints, weights: np.ndarray) -> list[Part]:
    """Part rank vectors that only stop at different depths."""
    depths = (rows > 0).sum(axis=1)
    if depths.min() == depths.max():
        return []
    at = int(np.floor((depths * weights).sum() / weights.sum())) + 1
    at = min(max(at, int(depths.min()) + 1), int(depths.max()))
    part, band = found.part, found.part.band
    assert band is not None
    low, high = band.low.copy(), band.high.copy()
    low[at], high[at] = 1, 0
    return [
        replace(part, band=Band2(low, high)),
        replace(part, least=max(part.least, at)),
    ]


def Band2(low, high):
    from solver.dp_tables import Band
    return Band(low=low, high=high)
