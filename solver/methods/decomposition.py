"""Lagrangian decomposition, where devices are tied together by shared ranks below caps."""

from profiler.schema import InputError
from solver.exact import maximise_utility
from solver.methods.settings import Settings
from solver.outcome import Outcome
from solver.problem import Problem


def plan(problem: Problem, settings: Settings) -> Outcome:
    """Solve as `solver.capped.plan` and `solver.capped.bound` describe."""
    question = problem.question
    if question.structure != "capped" or question.objective != "utility":
        raise InputError(
            "method 'decomposition' takes capped ranks and the largest utility; give "
            "--structure capped, or use --method auto"
        )
    return maximise_utility(problem)
