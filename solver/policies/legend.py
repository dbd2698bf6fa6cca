"""LEGEND: shared ranks that rise towards the output, depth by what a device can afford.

Liu et al., "Adaptive Parameter-Efficient Federated Fine-Tuning on Heterogeneous Devices",
arXiv 2412.20004. Certain from the abstract: depth and rank distribution are decided
together, and higher ranks lie close to the output. Likely: depth counts from the output, and
the ranks rise by a constant step. The rest is our reading, and a generous one: where the
paper's greedy (LCD) settles on one progression, all of them are tried and the best is kept,
each device as deep as round time, memory and mean wait allow.
"""

import numpy as np

from solver.allocation import Allocation, shared, utility
from solver.capacity import capacity
from solver.explain import infeasible
from solver.outcome import Outcome
from solver.problem import Problem
from solver.progression import progressions, values
from solver.waits import limit_wait


def plan(problem: Problem) -> Outcome:
    """Best arithmetic progression of shared ranks, every device as deep as it can."""
    question = problem.question
    table = capacity(
        problem.costs, problem.weights, question.rank_choices[-1], optimistic=False
    )
    candidates = progressions(problem.ranks, problem.layers)
    value = values(
        table,
        problem.gains,
        problem.ranks,
        candidates,
        min_depth=question.min_depth,
        rank_budget=question.budgets.rank_budget,
    )
    order = np.argsort(-value, kind="stable")
    best = _best(problem, candidates[order], value[order])
    if best is None:
        raise infeasible(problem)
    return Outcome(
        allocation=best,
        value=utility(problem, best),
        bound=None,
        method="greedy depth over all arithmetic progressions",
    )


def _best(problem: Problem, ranks: np.ndarray, value: np.ndarray) -> Allocation | None:
    """First allocation that no later candidate can beat once the mean wait is kept."""
    epsilon_s = problem.question.budgets.mean_wait_s
    best, best_value = None, -np.inf
    for row, without_wait in zip(ranks, value, strict=True):
        if np.isneginf(without_wait) or without_wait <= best_value:
            break
        found: Allocation | None = shared(problem, row)
        if epsilon_s is not None and found is not None:
            found = limit_wait(problem, found, epsilon_s)
        if found is not None and utility(problem, found) > best_value:
            best, best_value = found, utility(problem, found)
    return best
