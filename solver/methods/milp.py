"""A general solver on a mixed-integer program: the oracle, see `solver.milp`."""

from typing import TYPE_CHECKING

from solver.deadline import current
from solver.methods.settings import Settings
from solver.milp_run import Backend
from solver.outcome import Outcome
from solver.problem import Problem

if TYPE_CHECKING:
    from solver.milp import Form

# Nodes of a search that has no time limit, and when it is killed all the same.
NODES, KILLED_S = 200_000, 600.0


def plan(problem: Problem, settings: Settings) -> Outcome:
    """Solve by arc flow where it holds, in the disaggregated form otherwise."""
    from solver.milp import solve_milp
    from solver.milp_arcs import arcs_hold

    form: Form = "arcs" if arcs_hold(problem) else "disaggregated"
    nodes, limit_s = limits(NODES, KILLED_S)
    return solve_milp(
        problem, backend=settings.backend, form=form, time_limit_s=limit_s, nodes=nodes
    )


def plan_disaggregated(problem: Problem, settings: Settings) -> Outcome:
    """Solve the form that takes any costs."""
    return disaggregated(problem, settings.backend, NODES, KILLED_S)


def disaggregated(
    problem: Problem, backend: Backend, most_nodes: int, killed_s: float
) -> Outcome:
    """Solve the disaggregated form within a number of nodes, or the user's time limit."""
    from solver.milp import solve_milp

    nodes, limit_s = limits(most_nodes, killed_s)
    return solve_milp(
        problem, backend=backend, form="disaggregated", time_limit_s=limit_s, nodes=nodes
    )


def limits(nodes: int, killed_s: float) -> tuple[int | None, float]:
    """Nodes and seconds that a solver gets: a time limit of the user's comes first."""
    left_s = current().left_s()
    return (nodes, killed_s) if left_s == float("inf") else (None, max(left_s, 0.01))
