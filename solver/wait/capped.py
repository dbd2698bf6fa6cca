"""Capped ranks under a mean wait: shared ranks and round times in turns.

For given shared ranks every device answers a deadline alone, with a depth and a cap, so
`solver.wait.deadlines` finds the best answers that keep the wait, and proves them. The shared
ranks are then climbed anew under the round time that was found, and so on until nothing
improves. The bound: with ranks of their own devices can do whatever they can with caps, so
round times at which those keep no wait, or are worth no more than the plan, are out. Up to
the longest that is left `solver.wait.capped_bound` prices own time; in a hurry the wait is
dropped there, and the bound of `solver.capped.bound` holds.
"""

from collections.abc import Iterator

import numpy as np

from solver.allocation import Allocation, round_time_s, utility
from solver.capped.bound import GAP, QUICK_WORK, lagrangian_bound
from solver.capped.plan import PROMISED_GAP, CappedRanks, best_ranks
from solver.costs.devices import Ints
from solver.errors import Infeasible
from solver.explain.infeasible import infeasible
from solver.least import least_allocation
from solver.outcome import Outcome
from solver.own import most_of_own
from solver.problem import Problem
from solver.slopes.rooms import Rooms
from solver.wait.capped_bound import bound_waiting
from solver.wait.deadlines import (
    MOST,
    MOST_WITHOUT,
    latest_s,
    search_deadlines,
    shortest_wait,
)

# Most turns of shared ranks and round time, and the gap of the answers in one.
TURNS, TURN_GAP = 6, 5e-5
# Ranks that others are raised to, and round times that are looked at with each.
RAISED, FEW, FEW_WITHOUT = 10, 30, 100


def plan_capped_waiting(
    problem: Problem, start: Outcome | Infeasible, *, thorough: bool
) -> Outcome:
    """Find shared ranks, depths and caps that keep the mean wait, with a bound.

    Parameters
    ----------
    problem : Problem
    start : Outcome or Infeasible
        A plan of the same question with shared ranks, or why none was found.
    thorough : bool
        Whether to take seconds for a tight bound.

    Raises
    ------
    Infeasible
        Where no plan was found.
    """
    epsilon_s = problem.question.budgets.mean_wait_s
    assert epsilon_s is not None
    most, own = most_of_own(problem)
    best, ranks = _turns(problem, start, most, epsilon_s)
    value = -np.inf if best is None else utility(problem, best)
    last_s = latest_s(problem, own, value, epsilon_s)
    if best is None:
        raise infeasible(problem, waiting=waits_little(problem), proven=last_s is None)
    bound = value
    if last_s is not None:
        bound = search_deadlines(problem, own, own, best, most, epsilon_s)[1]
        if thorough and bound > value * (1 + GAP):
            around_s = round_time_s(problem, best)
            bound = min(bound, bound_waiting(problem, ranks, value, around_s, last_s))
        elif not thorough:
            within = problem.under(round_time_s=last_s, mean_wait_s=None)
            rooms = Rooms.of(within, optimistic=True)
            bound = min(bound, lagrangian_bound(within, rooms, ranks, value, QUICK_WORK))
    return Outcome(
        allocation=best,
        value=value,
        bound=max(bound, value),
        method="search over ranks with caps and round times, bound by Lagrangian decomposition",
        target_gap=PROMISED_GAP,
    )


def waits_little(problem: Problem) -> Allocation:
    """A plan with the largest ranks, capped, that waits little; the least one at worst."""
    top, layers = problem.ranks[-1], problem.layers
    found = None
    if problem.question.budgets.rank_budget is None:
        found = shortest_wait(problem, CappedRanks.of(problem, np.full(layers, top)))
    return found or least_allocation(problem)


def _turns(
    problem: Problem, start: Outcome | Infeasible, most: float, epsilon_s: float
) -> tuple[Allocation | None, Ints]:
    """Best allocation found and the shared ranks it was found with."""
    best = start.allocation if isinstance(start, Outcome) else None
    least = least_allocation(problem) if best is None else best
    # What nobody adapts has no rank, and takes nothing from a budget on the ranks.
    adapted = np.arange(problem.layers) < least.depth.max()
    ranks = kept_ranks = best_ranks(problem, np.where(adapted, least.rows[0], 0))
    value = -np.inf if best is None else utility(problem, best)

    def better(ranks: Ints, *, hurried: bool = False) -> Allocation | None:
        """What devices train at these ranks, if it keeps the wait and is the best so far."""
        capped = CappedRanks.of(problem, ranks)
        free = capped.best(capped.answers(problem.costs))
        looks = (FEW, FEW_WITHOUT) if hurried else (MOST, MOST_WITHOUT)
        found, _ = search_deadlines(
            problem, capped, capped, free, most, epsilon_s, TURN_GAP, *looks
        )
        return None if found is None or utility(problem, found) <= value else found

    for _ in range(TURNS):
        found = better(ranks)
        if found is None:
            break
        best, value, kept_ranks = found, utility(problem, found), ranks
        ranks = best_ranks(problem.under(round_time_s=round_time_s(problem, found)), ranks)
    if kept_ranks is ranks:
        # Ranks that are best where nobody minds the wait leave the fastest too little.
        for each in _raised(problem, ranks):
            found = better(each, hurried=True)
            if found is not None:
                best, value, kept_ranks = found, utility(problem, found), each
    return best, kept_ranks


def _raised(problem: Problem, ranks: Ints) -> Iterator[Ints]:
    """Ranks no smaller than each of a few, wherever there are any."""
    if problem.question.budgets.rank_budget is None:
        places = np.linspace(0, len(problem.ranks) - 1, RAISED).round().astype(np.int64)
        for least in problem.ranks[np.unique(places)].tolist():
            yield np.where(ranks > 0, np.maximum(ranks, least), 0)
