"""Ranks with caps within a window of round times: good shared ranks, and a bound by copies.

Ranks are climbed to at the prices of the last ones (`solver.links.capped`), each a linear
program over what devices make of them. The bound by copies of the ranks (`solver.links.copies`)
and the prices take turns: some steps of the multipliers, then a few looks for better prices
(`solver.bundle`). What was learned goes on to the next window (`solver.links.best.Caps`).

At short rounds good prices are too far for a few looks. So where much is left and nobody minds
the wait, both go down the same subgradients together as well, from half-way between the prices
of own ranks, which are too dear where ranks are shared, and those of the program for the best
ranks, which leave out whatever other ranks would ask for.
"""

from dataclasses import replace

import numpy as np

from solver.bundle import lowest
from solver.costs.devices import Floats, Ints
from solver.deadline import expired
from solver.links.best import Caps
from solver.links.capped import Climb
from solver.links.copies import GROUPS, LAST_PRICES, Copies
from solver.links.descent import State, descend, descend_together
from solver.links.pool import Prices, between
from solver.links.search import GAP, HANDED, Search

# Times that the first bound by copies is priced anew, and looks for prices each time.
PHASES, PRICINGS = 4, 12
# Gap from which on the bound is looked for another way; there, stages: groups of devices, times
# the steps asked for, and first share of Polyak's step.
LOOSE = 1.5e-3
FIRST, THEN, LAST = (48, 1, 1.0), (GROUPS, 2, 1.0), (GROUPS, 2, 0.2)
# Factor of the wait's price where capped ranks cannot keep it.
DEARER = 1.5


def climb(search: Search, programs: int, handed: Prices | None) -> None:
    """Climb to good ranks, each time at the prices of the last ones."""
    caps = search.best.caps
    if search.window.epsilon_s is not None:
        # Prices of capped ranks, where there are any, say more than those of own ranks.
        search.prices = handed or caps.prices or search.prices
    mean = search.vector(search.prices)
    ranks = _start(search) if caps.ranks is None else caps.ranks
    for number in range(programs):
        ranks = Climb.of(search.own, search.prices_at(mean)).ascend(ranks)
        mix = search.try_ranks(ranks)
        if mix is None:
            break
        if mix.keeps:
            mean = mean + (search.vector(mix.prices) - mean) / (number + 2)
        elif search.window.epsilon_s is not None:
            # Ranks that leave devices too little to do: what they do is worth more.
            mean[-1] = DEARER * mean[-1] + search.radius()[-1] / HANDED
    search.prices = search.prices_at(mean)


def bound_by_copies(search: Search, alone: Prices, steps: int) -> float:
    """Bound by copies of the ranks climbed to; infinite without ranks or steps.

    `alone` are the prices of own ranks.
    """
    caps = search.best.caps
    if caps.ranks is None or steps == 0 or search.best.allocation is None:
        return np.inf
    bound = _copies(search, caps, steps)
    loose = bound > search.best.value * (1 + LOOSE)
    if search.window.epsilon_s is None and loose and not expired():
        bound = min(bound, _together(search, caps, alone, steps, bound))
    return bound


def _together(search: Search, caps: Caps, alone: Prices, steps: int, known: float) -> float:
    """Bound by copies of the ranks, a few at first, as these agree sooner.

    The last stage is left out where those before it did not get below the bound that is known.
    """
    assert caps.ranks is not None
    assert caps.prices is not None
    prices = between(alone, caps.prices, 0.5)
    copies = Copies.of(search.own, prices, caps.ranks).grouped(FIRST[0])
    state = State(
        copies=copies,
        ranks=caps.ranks,
        multipliers=copies.at_rest(caps.ranks),
        prices=prices,
        around=copies.price,
    )
    bound, target = np.inf, search.best.value * (1 + GAP / 2)
    for stage in (FIRST, THEN, LAST):
        if stage is LAST and bound > known:
            break
        groups, times, length = stage
        finer = state.copies.grouped(groups)
        spread = state.copies.spread(state.multipliers, finer)
        state = replace(state, copies=finer, multipliers=spread)
        state, found = descend_together(search, state, None, target, times * steps, length)
        bound = min(bound, found)
        if bound <= target or expired():
            return bound
    copies = state.copies.at(search.own, state.prices)
    last = copies.answers(state.multipliers, state.around, LAST_PRICES)
    return min(bound, last.total + state.prices.constant(search.links, search.window))


def _copies(search: Search, caps: Caps, steps: int) -> float:
    """Bound by copies of the ranks, from the best multipliers so far."""
    assert caps.ranks is not None
    waits = search.window.epsilon_s is not None
    phases = PHASES if caps.copies is None else 1
    if caps.copies is None:
        caps.copies = Copies.of(search.own, search.prices, caps.ranks)
        caps.multipliers = caps.copies.at_rest(caps.ranks)
    bound, target = np.inf, search.best.value * (1 + GAP / 2)
    for phase in range(phases):
        copies = caps.copies.at(search.own, search.prices)
        constant = search.prices.constant(search.links, search.window)
        assert caps.multipliers is not None
        caps.multipliers, around, found = descend(
            copies, caps.multipliers, caps.ranks, target, constant, steps
        )
        bound = min(bound, found)
        if bound <= target or expired():
            return bound
        if waits or phase < phases - 1:
            bound = min(bound, _priced(search, caps, around, target))
    assert caps.multipliers is not None
    last = caps.copies.at(search.own, search.prices).answers(
        caps.multipliers, around, LAST_PRICES
    )
    return min(bound, last.total + search.prices.constant(search.links, search.window))


def _priced(search: Search, caps: Caps, around: Floats, target: float) -> float:
    """Better prices for the copies' multipliers, and the bound there."""

    def look(at: Floats) -> tuple[float, Floats]:
        prices = search.prices_at(at)
        assert caps.copies is not None
        assert caps.multipliers is not None
        copies = caps.copies.at(search.own, prices)
        answers = copies.answers(caps.multipliers, around)
        left_s, kept_s = copies.slack(search.own, answers, prices, search.window)
        slope = np.append(left_s[search.window.kept], kept_s / search.links.count.sum())
        return answers.total + prices.constant(search.links, search.window), slope[: len(at)]

    found = lowest(
        look,
        search.vector(search.prices),
        search.radius() / HANDED,
        steps=PRICINGS,
        enough=lambda bound: bound <= target,
    )
    search.prices = search.prices_at(found.at)
    return found.value


def _start(search: Search) -> Ints:
    """Ranks to climb from: as large as a budget on them allows."""
    problem = search.problem
    budget, choices = problem.question.budgets.rank_budget, problem.ranks
    middle = choices[len(choices) // 2]
    if budget is None:
        return np.full(problem.layers, middle)
    level = choices[choices * problem.layers <= budget]
    rank = level[-1] if len(level) else choices[0]
    ranks = np.full(problem.layers, rank)
    return np.where(np.cumsum(ranks) <= budget, ranks, 0)
