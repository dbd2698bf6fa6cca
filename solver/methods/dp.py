"""The dynamic program and nothing after it: milliseconds, and exact for proportional costs.

Where costs are out of proportion to the layers' sizes it runs between two bounds and leaves
a gap; 'branch' closes it. Objectives 'time' and 'efficiency' are sequences of its programs.
"""

from solver.exact import maximise_utility
from solver.methods.settings import Settings
from solver.outcome import Outcome
from solver.policies.exact import plan as by_objective
from solver.problem import Problem


def plan(problem: Problem, settings: Settings) -> Outcome:
    """Solve without branching; see `solver.exact` and `solver.objectives`."""
    if problem.question.objective != "utility":
        return by_objective(problem)
    return maximise_utility(problem, branching=False)
