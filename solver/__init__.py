"""Plan depth and ranks of federated LoRA, exactly and with a certificate.

``Problem.of(fleet, round_time_s=30)`` poses a problem and ``solve(problem)`` answers it with
a `solver.plan.Plan`; `solver.check` recomputes everything independently. Names are
loaded when they are first used, so that reading a plan costs no solver.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from profiler.schema import Fleet, InputError, read_fleet
    from solver.compare import compare_policies
    from solver.errors import Infeasible, Stopped
    from solver.exact import utility_bound
    from solver.frames import compare_frame, plan_frame, ranks_frame, round_frame
    from solver.frontier import frontier_points
    from solver.heuristics import plan_of, price
    from solver.instances import random_fleet
    from solver.plan import Plan, read_plan
    from solver.planner import solve
    from solver.problem import Problem

__all__ = [
    "Fleet",
    "Infeasible",
    "InputError",
    "Plan",
    "Problem",
    "Stopped",
    "compare_frame",
    "compare_policies",
    "frontier_points",
    "plan_frame",
    "plan_of",
    "price",
    "random_fleet",
    "ranks_frame",
    "read_fleet",
    "read_plan",
    "round_frame",
    "solve",
    "utility_bound",
]

_HOME = {
    "Fleet": "profiler.schema",
    "Infeasible": "solver.errors",
    "InputError": "profiler.schema",
    "Plan": "solver.plan",
    "Problem": "solver.problem",
    "Stopped": "solver.errors",
    "compare_frame": "solver.frames",
    "compare_policies": "solver.compare",
    "frontier_points": "solver.frontier",
    "plan_frame": "solver.frames",
    "plan_of": "solver.heuristics",
    "price": "solver.heuristics",
    "random_fleet": "solver.instances",
    "ranks_frame": "solver.frames",
    "read_fleet": "profiler.schema",
    "read_plan": "solver.plan",
    "round_frame": "solver.frames",
    "solve": "solver.planner",
    "utility_bound": "solver.exact",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'solver' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """Names to complete, loaded or not."""
    return sorted(globals().keys() | set(__all__))
