"""Heuristic: from the least ranks up, one layer's rank at a time, with kicks."""

import numpy as np

from profiler.schema import InputError
from solver.least import least_allocation
from solver.methods.candidates import (
    deepest_allowed,
    finished,
    plan_of,
    require_free,
    require_shared,
)
from solver.methods.settings import Settings
from solver.outcome import Outcome
from solver.problem import Problem
from solver.slopes.local_search import improve, too_large


def plan(problem: Problem, settings: Settings) -> Outcome:
    """Search as `solver.slopes.local_search` describes, from all layers at the least rank."""
    require_shared(problem, "local-search")
    require_free(problem, "local-search")
    if too_large(problem):
        n = len(problem.costs.devices)
        raise InputError(
            f"method 'local-search' looks at every device in every step, and {n} are too "
            "many; use --method dp or anneal"
        )
    least = least_allocation(problem)
    layer, budget = np.arange(problem.layers), problem.question.budgets.rank_budget
    depth = deepest_allowed(problem)
    if budget is not None:
        depth = min(depth, budget // int(problem.ranks[0]))
    depth = max(depth, int(least.depth.max()))
    start = np.where(layer < depth, problem.ranks[0], 0)
    ranks = improve(problem, start, seed=settings.seed)
    return finished(problem, plan_of(problem, ranks), "iterated local search")
