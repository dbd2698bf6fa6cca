"""The best plan for round times within a window, by structure, with a bound.

The bound has prices for the links and the wait, and the lowest is looked for: by cutting
planes (`solver.bundle`) for shared ranks, whose best at the prices are the proposals; by the
linear program over options for ranks of their own; by copies of the ranks where they have caps
(`solver.links.capped_window`).
"""

from dataclasses import replace
from itertools import product

import numpy as np
from msgspec.structs import replace as replace_fields

from solver.allocation import LEFT_OUT, Allocation, cost
from solver.bundle import lowest
from solver.costs.capacity import exact
from solver.costs.devices import Floats, Ints
from solver.costs.resource import TOLERANCE
from solver.deadline import expired
from solver.links.best import Best
from solver.links.capped_wait import refine
from solver.links.capped_window import bound_by_copies, climb
from solver.links.mix import Mix, best_mix
from solver.links.own import OwnAtPrices
from solver.links.polish import Neighbours
from solver.links.pool import Pool, Prices
from solver.links.search import COLUMNS, GAP, ROUNDING, Effort, Search
from solver.links.shared import PricedRanks
from solver.problem import Problem

# When the program over own ranks is solved, and the least gain that counts.
CLOSE = 1e-5
# Shares of their room that few devices are made to do with, and of the prices then.
ROOMS, CHEAP = tuple(k / 16 for k in range(1, 17)), 0.25
# Closer than this, rounding is what is left.
NEAR = 1e-3
QUICK = Effort(steps=24, programs=2, copies=0)
THOROUGH = Effort(steps=120, programs=8, copies=50, polish=24_000, few=True)
# For a plan without caps to start from.
SHARED = Effort(steps=40, programs=4, copies=0, polish=6_000)


def run(search: Search, effort: Effort) -> float:
    """Look for better plans; a bound on all with a round time in the window."""
    structure = search.problem.question.structure
    search.begin(effort)
    if structure == "shared":
        return _shared_ranks(search, effort)
    handed = search.prices if search.handed_down else None
    bound, alone = own_ranks(search), search.prices
    if structure == "own" or bound <= search.best.value * (1 + GAP):
        return bound
    climb(search, effort.programs, handed)
    if search.few and search.best.value * (1 + NEAR) < bound and not expired():
        _climb_from_shared(search, bound, effort)
    if search.window.epsilon_s is None and effort.polish:
        refine(search)
    return min(bound, bound_by_copies(search, alone, effort.copies))


def _climb_from_shared(search: Search, bound: float, effort: Effort) -> None:
    """Start from the best plan without caps, which is one with caps too."""
    question = replace_fields(search.problem.question, structure="shared")
    problem = replace(search.problem, question=question)
    plain = Search.of(problem, search.links, search.window, Best(problem=problem), None)
    _shared_ranks(plain, SHARED)
    found = plain.best.allocation
    if found is None:
        return
    search.best.offer(found)
    search.try_ranks(found.rows[0])
    if search.best.value * (1 + NEAR) < bound:
        climb(search, effort.programs, None)


def own_ranks(search: Search) -> float:
    """The program over ranks of their own: its prices, a bound, and, if asked, plans."""
    pool, mix, bound = generated(search)
    if search.problem.question.structure == "own":
        own_plans(search, pool, mix)
    return bound


def generated(search: Search) -> tuple[Pool, Mix, float]:
    """Options of their own that are best at the program's prices, its mix, and a bound.

    What is optimistic may not be allowed, but its prices are as good; see `_same`.
    """
    pool, bound, same = search.pool(), np.inf, _same(search.problem)
    mix: Mix | None = None
    for _ in range(COLUMNS):
        found, value = search.own.answer(search.prices, search.window)
        bound = min(bound, value)
        new = pool.add(_allowed(search.problem, found) if same else found)
        mix = best_mix(
            pool, search.links, search.window, start=None if mix is None else mix.basis
        )
        search.prices = mix.prices
        if not new or bound - mix.value <= CLOSE * abs(bound) or expired():
            break
    assert mix is not None
    bound = min(bound, search.own.answer(search.prices, search.window)[1])
    return pool, mix, bound + ROUNDING * abs(bound)


def own_plans(search: Search, pool: Pool, mix: Mix) -> None:
    """Offer plans of ranks of their own, from the program's options and mix."""
    same = _same(search.problem)
    sides = [search.own] if same else [search.own, _safe(search)]
    if not same or search.few:
        pool, mix = search.generated(lambda p: [_possible(side, p, search) for side in sides])
    if search.few:
        # The best within less room need not be the best at any prices.
        cheap = replace(search.prices, links=search.prices.links * CHEAP)
        for side, share in product(sides, ROOMS):
            smaller = replace(side, units=np.floor(side.units * share).astype(np.int64))
            pool.add(_possible(smaller, cheap, search))
        mix = best_mix(pool, search.links, search.window, start=mix.basis)
    search.round(pool, mix)


def _same(problem: Problem) -> bool:
    """Whether what is optimistic is what is allowed."""
    question = problem.question
    return exact(problem.costs, question.rank_choices[-1], question.min_depth)


def _safe(search: Search) -> OwnAtPrices:
    return OwnAtPrices.of(search.problem, search.links, optimistic=False)


def _possible(own: OwnAtPrices, prices: Prices, search: Search) -> Allocation:
    """Best option of every device at prices, where its limits allow it."""
    return _allowed(search.problem, own.answer(prices, search.window)[0])


def _allowed(problem: Problem, found: Allocation) -> Allocation:
    """Options without those that a limit does not allow."""
    costs, holds = problem.costs, found.taking_part
    for q in costs.resources:
        spent = cost(costs, q, found.rows, found.row, found.depth)
        holds = holds & (spent <= q.limit * (1 + TOLERANCE))
    return replace(found, depth=np.where(holds, found.depth, LEFT_OUT))


def _shared_ranks(search: Search, effort: Effort) -> float:
    """Lowest bound of `solver.links.shared` over the prices; its ranks become plans."""
    program = PricedRanks.of(search.problem, search.links)
    start, ranks = search.vector(search.prices), list[Ints]()

    def look(at: Floats) -> tuple[float, Floats]:
        prices = search.prices_at(at)
        found, bound = program.solve(prices, search.window)
        if found is None:
            return -np.inf, at
        ranks.append(found.ranks)
        left_s, kept_s = program.slack(found, prices, search.window)
        slope = np.append(left_s[search.window.kept], kept_s / search.links.count.sum())
        return bound, slope[: len(at)]

    def enough(bound: float) -> bool:
        return bound <= search.best.value * (1 + GAP)

    found = lowest(look, start, search.radius(), steps=effort.steps, enough=enough)
    if found.value == -np.inf:
        return found.value
    search.prices = search.prices_at(found.at)
    bound = found.value + ROUNDING * abs(found.value)
    _propose(search, [ranks[i] for i in found.looks], effort)
    _polish(search, program, bound, effort.polish)
    return bound


def _propose(search: Search, proposed: list[Ints], effort: Effort) -> None:
    """Try the ranks whose mix is the bound, the heaviest first."""
    for ranks in proposed[: effort.programs]:
        if not expired():
            search.try_ranks(ranks)


def _polish(search: Search, program: PricedRanks, bound: float, number: int) -> None:
    """Change single layers of the best plan's ranks while that promises more."""
    if search.best.allocation is None or number == 0:
        return
    number //= len(search.problem.costs.devices)
    ranks = search.best.allocation.rows[0]
    mix = search.mixed(search.depths(ranks))
    while number > 0 and search.best.value * (1 + NEAR) < bound and not expired():
        near = Neighbours.of(program, search.window, ranks, mix.prices)
        better = None
        for other in near.above(mix.value * (1 + CLOSE)):
            found = search.try_ranks(other)
            number -= found is not None
            if found is not None and found.keeps and found.value > mix.value * (1 + CLOSE):
                better = other, found
            if better or number <= 0 or expired():
                break
        if better is None:
            return
        ranks, mix = better
