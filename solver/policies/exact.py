"""Ours: the plan of largest utility, proven."""

from solver.deepest import plan_deepest
from solver.exact import maximise_utility
from solver.objectives import best_efficiency, least_time
from solver.outcome import Outcome
from solver.problem import Problem


def plan(problem: Problem) -> Outcome:
    """Ranks and depths that are provably best for the objective."""
    methods = {
        "time": least_time,
        "efficiency": best_efficiency,
        "legend": plan_deepest,
    }
    return methods.get(problem.question.objective, maximise_utility)(problem)
