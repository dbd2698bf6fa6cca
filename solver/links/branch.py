"""Shared ranks behind links with a mean wait: branch on round times and on prefix sums.

One set of prices leaves a gap, for the bound mixes round times and rank vectors of which each
breaks a limit: one sends too much, another waits too long. The part of the plans with the
largest bound is halved: its round times while they are worth much at its prices, else the
prefix sums of the depth where the mixed rank vectors lie farthest apart (`solver.links.node`).
Ranks of the mix, and those in their middle, become plans.
"""

import heapq
from dataclasses import dataclass, field, replace
from itertools import count, pairwise

import numpy as np

from solver.allocation import round_time_s
from solver.costs.devices import Floats, Ints
from solver.deadline import expired
from solver.dp.values import Band
from solver.links.best import Best
from solver.links.few import Few, try_all
from solver.links.graph import Links
from solver.links.mix import Basis
from solver.links.node import Bounded, Effort, bounded
from solver.links.part import Deadline, Part, floor
from solver.links.pool import Window
from solver.links.search import GAP, Search
from solver.links.settle import settled
from solver.problem import Problem

# At the first part, whose prices are not known, and at the others.
FIRST, EACH = Effort(steps=80, charges=0), Effort(steps=6, charges=10)
# Looks in all, times devices, and how many at most; for a quick answer, and where devices are
# few.
WORK, MOST_WORK, QUICK, SMALL = 2_400_000, 6000, 300, 48
# Ranks of a mix that become plans; the looks that a plan counts for, and one more by devices.
PLANS, PLAN, MANY = 2, 3, 200
# Devices up to which choices are settled by single changes and pairs.
SETTLED = 400
# Relative width of round times from which on a mix is near no plan.
WIDE = 0.02
# Ends of the first round times, as shares beyond the best plan's.
APART = (-0.03, -0.01, -0.003, 0.003, 0.01, 0.03)
# Deadlines whose tables are kept: the parts of a round time share one.
DEADLINES = 16
# Relative width from which on round times are told apart no more.
SAME = 1e-9
# Share of the gap that halving the round times must promise.
WORTH_HALVING = 0.25


@dataclass(slots=True, kw_only=True)
class _Search:
    """What was seen so far.

    Parameters
    ----------
    problem : Problem
    links : Links
    best : Best
    deadlines : dict of float to Deadline
    tried : set of tuple of int
        Ranks that were made plans.
    basis : Basis or None
        Where the program over the last ranks' options ended.
    work, looks, plans : int
        Looks that are left, those that were taken, and those that plans counted for.
    """

    problem: Problem
    links: Links
    best: Best
    work: int
    looks: int = 0
    plans: int = 0
    deadlines: dict[tuple[float, int], Deadline] = field(default_factory=dict)
    tried: set[tuple[int, ...]] = field(default_factory=set)
    basis: Basis | None = None

    @property
    def floor(self) -> float:
        """Bounds up to here are settled."""
        return floor(self.problem, self.best)

    def deadline(self, part: Part) -> Deadline:
        """Return the problem within a part's longest round time and least prefix sum."""
        least = self.problem.question.min_depth
        prefix = 0 if part.band is None else int(part.band.low[least])
        for key in ((part.high_s, 0), (part.high_s, prefix)):
            if key not in self.deadlines:
                while len(self.deadlines) >= DEADLINES:
                    self.deadlines.pop(next(iter(self.deadlines)))
                known = self.deadlines.get((part.high_s, 0))
                if known is None:
                    known = Deadline.of(self.problem, self.links, part.high_s)
                self.deadlines[key] = known.beyond(prefix) if key[1] else known
        return self.deadlines[part.high_s, prefix]


def branch(
    problem: Problem, links: Links, whole: Window, best: Best, few: Few, *, thorough: bool
) -> float:
    """Look for better plans; a bound on all of them.

    Parameters
    ----------
    problem : Problem
        Shared ranks that run freely over the layers, with a mean wait.
    links : Links
    whole : Window
        All round times.
    best : Best
        What is known.
    few : Few
        Ranks and choices that are all tried where devices are few.
    thorough : bool
        Whether to take seconds.
    """
    most = min(WORK // len(problem.weights), MOST_WORK)
    search = _Search(problem=problem, links=links, best=best, work=most if thorough else QUICK)
    number, bound, known = count(), np.inf, -np.inf
    if len(problem.weights) <= SMALL:
        # No mix is near a plan there, but all ranks may be tried.
        within = problem.under(round_time_s=whole.high_s)
        bound = try_all(Search.of(within, links, whole, best, None), few)
        search.work = QUICK
    first = Part(
        low_s=whole.low_s, high_s=whole.high_s, band=None, least=problem.question.min_depth
    )
    queue = [(-bound, next(number), first)]
    while queue and -queue[0][0] > search.floor and search.work > 0:
        above, at, part = heapq.heappop(queue)
        if at and expired():
            heapq.heappush(queue, (above, at, part))
            break
        found = bounded(search.deadline(part), part, best, EACH if part.prices else FIRST)
        search.work -= found.looks
        search.looks += found.looks
        bound = min(-above, found.bound)
        # What was left out of it, and what is settled.
        known = max(known, min(bound, search.floor))
        if bound <= search.floor:
            continue
        _plans(search, found)
        parts = [] if at else _around(search, found.part)
        parts = parts or _halves(search, found, bound)
        known = max(known, bound) if not parts else known
        for each in parts:
            heapq.heappush(queue, (-bound, next(number), each))
    if best.allocation is not None:
        known = max(known, best.value)
    return max(-queue[0][0] if queue else -np.inf, known)


def _around(search: _Search, part: Part) -> list[Part]:
    """Round times around the best plan's and farther off, each to find prices of its own.

    Those of a wide part say little of its halves. Nothing where there is no plan.
    """
    if search.best.allocation is None:
        return []
    around_s = round_time_s(search.problem, search.best.allocation)
    cuts = [around_s * (1 + share) for share in APART]
    edges = [part.low_s, *(cut for cut in cuts if part.low_s < cut < part.high_s), part.high_s]
    return [
        Part(low_s=low_s, high_s=high_s, band=None, least=part.least)
        for low_s, high_s in pairwise(edges)
    ]


def _plans(search: _Search, found: Bounded) -> None:
    """Make plans of ranks in the mix and in its middle, if they may be better."""
    here = found.search
    if here.window.high_s - here.window.low_s > WIDE * here.window.high_s:
        return
    program = found.deadline.ranks
    proposed = [ranks for ranks, _ in found.mixed[:PLANS]]
    proposed += _middle(search.problem, found)
    for ranks in proposed:
        key = tuple(ranks.tolist())
        # No more work on plans than on bounds.
        if key in search.tried or search.plans > search.looks or expired():
            continue
        plane = program.plane(ranks, here.prices, here.window, found.ahead)
        if plane is not None and plane.most > search.best.value:
            search.tried.add(key)
            cost = PLAN + len(search.problem.weights) // MANY
            search.work -= cost
            search.plans += cost
            _plan(search, here, ranks)


def _plan(search: _Search, here: Search, ranks: Ints) -> None:
    """Make a plan of ranks within a part."""
    pool = here.depths(ranks)
    if not pool.rows or not np.isfinite(pool.value).any(axis=1).all():
        return
    here.basis = search.basis
    mix = here.mixed(pool)
    search.basis = mix.basis
    here.round(pool, mix)
    few = len(search.problem.weights) <= SETTLED
    if few and mix.keeps and mix.value > search.best.value * (1 + GAP):
        chosen = settled(pool, search.links, here.window, mix, mix.round_s)
        if chosen is not None:
            search.best.offer(pool.allocation(chosen))


def _middle(problem: Problem, found: Bounded) -> list[Ints]:
    """Ranks in the middle of those that the bound mixes, if it mixes any."""
    if len(found.mixed) < 2:
        return []
    rows, shares = _mix(found)
    there = (rows > 0) * shares
    depth = int(np.rint(there.sum()))
    mean = (rows * there).sum(axis=0) / np.maximum(there.sum(axis=0), 1e-300)
    ranks = problem.ranks[np.abs(mean[:, None] - problem.ranks).argmin(axis=1)]
    ranks[depth:] = 0
    budget = problem.question.budgets.rank_budget
    return [ranks] if budget is None or ranks.sum() <= budget else []


def _mix(found: Bounded) -> tuple[Ints, Floats]:
    """The ranks that the bound mixes, and their shares, shapes (M, L) and (M, 1)."""
    rows = np.array([ranks for ranks, _ in found.mixed])
    shares = np.array([share for _, share in found.mixed])
    return rows, (shares / shares.sum())[:, None]


def _halves(search: _Search, found: Bounded, bound: float) -> list[Part]:
    """Halve what is left of a part; nothing if it cannot be."""
    part, prices = found.part, found.search.prices
    width_s = part.high_s - part.low_s
    wide = width_s > SAME * part.high_s
    worth = prices.wait * float(search.links.count.sum()) * width_s
    if not wide or worth <= WORTH_HALVING * (bound - search.best.value):
        halves = _cut_band(found)
        if halves or not wide:
            return halves
    if part.band is None:
        at_s = (part.low_s + part.high_s) / 2
    else:
        at_s = found.deadline.apart_s(part.low_s, part.high_s, part.band)
    return [replace(part, high_s=at_s), replace(part, low_s=at_s)]


def _cut_band(found: Bounded) -> list[Part]:
    """Part the ranks that the bound mixes, where their prefix sums lie farthest apart."""
    part, band = found.part, found.part.band
    if band is None or len(found.mixed) < 2:
        return []
    rows, shares = _mix(found)
    there = (rows > 0) * shares
    total = there.sum(axis=0)
    prefix = np.cumsum(rows * found.deadline.ranks.steps, axis=1)
    mean = (prefix * there).sum(axis=0) / np.maximum(total, 1e-300)
    apart = (np.abs(prefix - mean) * there).sum(axis=0)
    apart[band.high[1:] <= band.low[1:]] = 0.0
    at = int(apart.argmax())
    if apart[at] <= 0:
        return _cut_depth(part, band, rows)
    low, high = band.low.copy(), band.high.copy()
    high[at + 1] = int(np.clip(np.floor(mean[at]), low[at + 1], high[at + 1] - 1))
    low[at + 1] = high[at + 1] + 1
    # What stops before is in the first.
    return [
        replace(part, band=replace(band, high=high)),
        replace(part, band=replace(band, low=low), least=max(part.least, at + 1)),
    ]


def _cut_depth(part: Part, band: Band, rows: Ints) -> list[Part]:
    """Part ranks that only stop at different depths."""
    depths = (rows > 0).sum(axis=1)
    at = (int(depths.min()) + int(depths.max()) + 1) // 2
    if at == depths.min():
        return []
    low, high = band.low.copy(), band.high.copy()
    low[at], high[at] = 1, 0
    return [
        replace(part, band=Band(low=low, high=high)),
        replace(part, least=max(part.least, at)),
    ]
