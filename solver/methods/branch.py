"""Branch and bound on rank boxes, for costs out of proportion to the layers' sizes."""

from profiler.schema import InputError
from solver.exact import maximise_utility
from solver.methods.settings import Settings
from solver.outcome import Outcome
from solver.problem import Problem


def plan(problem: Problem, settings: Settings) -> Outcome:
    """Solve as `solver.slopes.branch` describes; shared ranks, no mean wait."""
    question = problem.question
    free = question.structure == "shared" and question.rank_shape != "progression"
    if not free or question.objective != "utility" or question.budgets.mean_wait_s is not None:
        raise InputError(
            "method 'branch' takes shared ranks that are no progression, the largest utility "
            "and no mean wait; use --method auto"
        )
    return maximise_utility(problem)
