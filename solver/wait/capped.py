"""Capped ranks under a mean wait: shared ranks and round times in turns.

For given shared ranks every device answers a deadline alone, with a depth and a cap, so
`solver.wait.deadlines` finds the best answers that keep the wait, and proves them. The shared
ranks are then climbed anew under the round time that was found, and so on until nothing
improves (`solver.wait.capped_ranks`). The bound: with ranks of their own devices can do
whatever they can with caps, so round times at which those keep no wait, or are worth no more
than the plan, are out. Up to the longest that is left `solver.wait.capped_bound` prices own
time; in a hurry the wait is dropped there, and the bound of `solver.capped.bound` holds.
"""

import numpy as np

from solver.allocation import Allocation, round_time_s
from solver.capped.bound import GAP, QUICK_WORK, lagrangian_bound
from solver.capped.plan import PROMISED_GAP, CappedRanks
from solver.errors import Infeasible
from solver.explain.infeasible import infeasible
from solver.least import least_allocation
from solver.outcome import Outcome
from solver.problem import Problem
from solver.slopes.rooms import Rooms
from solver.wait.capped_bound import bound_waiting
from solver.wait.capped_ranks import CappedSearch
from solver.wait.deadlines import latest_s, search_deadlines, shortest_wait


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
    search = CappedSearch.of(problem, start, epsilon_s)
    search.run()
    best, value, ranks = search.best, search.value, search.ranks
    most, own = search.most, search.own
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
