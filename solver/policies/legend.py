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
from solver.costs.capacity import capacity
from solver.costs.devices import Ints
from solver.explain.infeasible import infeasible
from solver.outcome import Outcome
from solver.problem import Problem
from solver.progression import candidates, progressions, values
from solver.wait.limit import within_wait


def plan(problem: Problem) -> Outcome:
    """Best arithmetic progression of shared ranks, every device as deep as it can."""
    strict = problem.question.rank_shape == "progression"
    ranks = candidates(problem) if strict else progressions(problem.ranks, problem.layers)
    budget = problem.question.budgets.rank_budget
    if budget is not None:
        # What the budget does not reach stays bare.
        ranks = np.unique(np.where(np.cumsum(ranks, axis=1) <= budget, ranks, 0), axis=0)
    top = problem.question.rank_choices[-1]
    table = capacity(problem.costs, problem.weights, top, optimistic=True)
    value = values(table, problem.gains, problem.ranks, ranks)
    order = np.argsort(-value, kind="stable")
    best = _best(problem, ranks[order], value[order])
    if best is None:
        raise infeasible(problem)
    return Outcome(
        allocation=best,
        value=utility(problem, best),
        bound=None,
        method="greedy depth over all arithmetic progressions",
    )


def _best(problem: Problem, ranks: Ints, most: np.ndarray) -> Allocation | None:
    """Best of the candidates; `most` says what each has at most, in falling order."""
    best, best_value = None, -np.inf
    for row, at_most in zip(ranks, most, strict=True):
        if at_most <= best_value:
            break
        found = _as_deep_as_it_can(problem, row)
        if found is not None and utility(problem, found) > best_value:
            best, best_value = found, utility(problem, found)
    return best


def _as_deep_as_it_can(problem: Problem, ranks: Ints) -> Allocation | None:
    """Every device at its deepest depth within limits and mean wait, or None."""
    found = shared(problem, ranks)
    short = (found.depth < problem.question.min_depth).any()
    return None if short else within_wait(problem, found)
