"""A short mean wait behind shared links: what is named where a budget on it leaves no plan.

The devices wait for the busiest link or the slowest of them. With little on the first layers,
which everybody adapts, rounds are short; and who is behind a link with time left waits less
the more layers it takes. So few kinds of ranks are tried, small ones first and larger beyond,
and for each the linear program of `solver.links.pool` has the devices' own times as long as
the links allow. Nothing says that no plan waits less.
"""

import numpy as np

from solver.allocation import LEFT_OUT, Allocation, fits, mean_wait_s, round_time_s, shared
from solver.costs.devices import Ints
from solver.deadline import expired
from solver.least import least_allocation
from solver.links.mix import best_mix
from solver.links.pool import Pool, Window
from solver.links.round import longest
from solver.problem import Problem
from solver.shapes import keeps_shape

# Choices of ranks that are tried, and rounds longer than the shortest at these.
RANKS, LONGER = 5, (1.0, 1.05)


def shortest(problem: Problem) -> Allocation:
    """Find a plan that keeps every limit but that on the mean wait, and waits little.

    Parameters
    ----------
    problem : Problem
        With shared links; the least configuration keeps all limits but the wait.
    """
    patient = problem.under(mean_wait_s=None)
    best = least_allocation(patient)
    if problem.costs.links is not None and problem.costs.links.flat:
        # What keeps the links there keeps them here.
        patient = patient.spreading("more")
    for ranks in _ranks(problem):
        for longer in LONGER:
            found = _within(patient, ranks, longer)
            if found is None or expired():
                break
            if mean_wait_s(problem, found) < mean_wait_s(problem, best):
                best = found
    return best


def _ranks(problem: Problem) -> list[Ints]:
    """One rank everywhere, and the least where everybody adapts with one rank beyond."""
    choices, first = problem.ranks, problem.question.min_depth
    few = choices[np.unique(np.geomspace(1, len(choices), RANKS).round().astype(np.int64) - 1)]
    found = []
    for rank in few.tolist():
        beyond = np.full(problem.layers, rank, dtype=np.int64)
        beyond[:first] = choices[0]
        found.append(beyond)
        if rank > choices[0]:
            found.append(np.full(problem.layers, rank, dtype=np.int64))
    shape = problem.question.rank_shape
    kept = [_within_budget(problem, ranks) for ranks in found]
    return [ranks for ranks in kept if keeps_shape(shape, ranks)]


def _within_budget(problem: Problem, ranks: Ints) -> Ints:
    """The first of these ranks, as many as the budget on their sum allows."""
    budget = problem.question.budgets.rank_budget
    kept = ranks.copy()
    if budget is not None:
        kept[np.cumsum(ranks) > budget] = 0
    return kept


def _within(patient: Problem, ranks: Ints, longer: float) -> Allocation | None:
    """Devices as long busy as the links allow, at given ranks; None where there is no plan."""
    links, limit_s = patient.costs.links, patient.question.budgets.round_time_s
    least = least_allocation(patient, ranks)
    if links is None or not least.taking_part.all():
        return None
    round_s = round_time_s(patient, least)
    if limit_s is not None and round_s > limit_s:
        return None
    round_s = min(round_s * longer, np.inf if limit_s is None else limit_s)
    problem = patient.under(round_time_s=round_s, mean_wait_s=0.0)
    pool = Pool(problem=problem)
    pool.add(least)
    whole = shared(problem, ranks)
    for k in range(problem.question.min_depth, int(whole.depth.max()) + 1):
        able = fits(problem.costs, whole.rows, whole.row, k)
        pool.add(Allocation(rows=whole.rows, row=whole.row, depth=np.where(able, k, LEFT_OUT)))
    window = Window(
        low_s=round_s, high_s=round_s, epsilon_s=0.0, kept=np.arange(len(links.names))
    )
    chosen = longest(pool, links, window, best_mix(pool, links, window))
    return None if chosen is None else pool.allocation(chosen)
