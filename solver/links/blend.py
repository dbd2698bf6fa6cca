"""Better capped ranks: for rounds a little too long for the best ones, and near the best.

In a longer round devices wait longer unless they have more to do. Ranks that are best if
nobody minds the wait leave them too little; the largest ranks, cut off by caps, give everybody
a choice of almost any load, but waste it on layers that gain less. In between, by bisection,
are ranks that just keep the wait.
"""

from collections.abc import Mapping

import numpy as np

from solver.costs.devices import Ints
from solver.deadline import expired
from solver.links.capped import Climb
from solver.links.search import Search
from solver.problem import Problem

BLENDS = 7
# Changes of single layers: places by which a choice is moved, programs for one step, and the
# relative gain that counts.
PLACES, TRIES, CLOSE = (-8, -4, -2, -1, 1, 2, 4, 8), 8, 1e-5


def blend(search: Search, ranks: Ints) -> float:
    """Try ranks between given ones and the largest; the best program's value that keeps all.

    Minus infinity where none does, or where a budget on the ranks allows no larger ones.
    """
    if search.problem.question.budgets.rank_budget is not None:
        return -np.inf
    low, high, best = 0.0, 1.0, -np.inf
    for number in range(BLENDS):
        # First the given ranks, then the largest, then what lies between.
        share = float(number) if number < 2 else (low + high) / 2
        mix = search.try_ranks(_between(ranks, search.problem.ranks, share))
        if mix is None or mix.keeps:
            best = best if mix is None else max(best, mix.value)
            high = share
        elif number == 1:
            break
        else:
            low = share
        if high == 0 or expired():
            break
    return best


def improve(search: Search, number: int) -> None:
    """Change single layers of the best ranks, at most so many times a program is solved."""
    ranks = search.best.caps.ranks
    mix = None if ranks is None else search.try_ranks(ranks)
    while ranks is not None and mix is not None and mix.keeps and number > 0:
        # What a change is worth at the program's prices says which to try first.
        climb = Climb.of(search.own, mix.prices)
        others = sorted(changed(search.problem, ranks), key=climb.value, reverse=True)
        for other in others[: min(TRIES, number)]:
            found = search.try_ranks(other)
            number -= 1
            if found is not None and found.keeps and found.value > mix.value * (1 + CLOSE):
                ranks, mix = other, found
                break
            if expired():
                return
        else:
            return


def changed(problem: Problem, ranks: Ints) -> list[Ints]:
    """Ranks that differ in one adapted layer, within the budget."""
    found = [
        moved(problem, ranks, {layer: place})
        for layer in range(int((ranks > 0).sum()))
        for place in PLACES
    ]
    return [other for other in found if other is not None]


def moved(problem: Problem, ranks: Ints, places: Mapping[int, int]) -> Ints | None:
    """Ranks with the choice of some layers moved; None where none is there, or the budget."""
    choices, budget = problem.ranks, problem.question.budgets.rank_budget
    other = ranks.copy()
    for layer, place in places.items():
        at = int(np.searchsorted(choices, ranks[layer])) + place
        if not 0 <= at < len(choices):
            return None
        other[layer] = choices[at]
    return other if budget is None or other.sum() <= budget else None


def _between(ranks: Ints, choices: Ints, share: float) -> Ints:
    """Adapted layers' ranks, raised by a share of what the largest choice is above them."""
    wanted = ranks + share * (choices[-1] - ranks)
    # Rounding errors must not raise a rank.
    at = np.searchsorted(choices, wanted * (1 - 1e-12)).clip(max=len(choices) - 1)
    return np.where(ranks > 0, choices[at], 0)
