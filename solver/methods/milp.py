"""A general solver on a mixed-integer program: the oracle, see `solver.milp`.

Where its time ends before it has a plan, the answer is the plan of a fast method, and says so.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from solver.deadline import current
from solver.errors import Infeasible, Stopped
from solver.methods.settings import Settings
from solver.milp_run import Backend
from solver.outcome import OPTIMAL_GAP, Outcome, relative_gap
from solver.problem import Problem

if TYPE_CHECKING:
    from solver.milp import Form

# Nodes of a search that has no time limit, and when it is killed all the same.
NODES, KILLED_S = 200_000, 600.0


def plan(problem: Problem, settings: Settings) -> Outcome:
    """Solve by arc flow where it holds, in the disaggregated form otherwise."""
    from solver.milp_arcs import arcs_hold

    return _answer(problem, settings.backend, "arcs" if arcs_hold(problem) else "disaggregated")


def plan_disaggregated(problem: Problem, settings: Settings) -> Outcome:
    """Solve the form that takes any costs."""
    return _answer(problem, settings.backend, "disaggregated")


def disaggregated(
    problem: Problem, backend: Backend, most_nodes: int, killed_s: float
) -> Outcome:
    """Solve the disaggregated form within a number of nodes, or the user's time limit.

    Raises
    ------
    Stopped
        If that ends without a plan.
    """
    return _within_limits(problem, backend, "disaggregated", most_nodes, killed_s)


def _answer(problem: Problem, backend: Backend, form: "Form") -> Outcome:
    try:
        return _within_limits(problem, backend, form, NODES, KILLED_S)
    except Stopped as stopped:
        from solver.milp import method_name

        return _without(problem, stopped, method_name(form, backend))


def _within_limits(
    problem: Problem, backend: Backend, form: "Form", most_nodes: int, killed_s: float
) -> Outcome:
    from solver.milp import solve_milp

    clock = current()
    # A time limit of the user's comes before limits of ours.
    timed = clock.left_s() < float("inf")
    nodes, limit_s = (None, max(clock.left_s(), 0.01)) if timed else (most_nodes, killed_s)
    try:
        found = solve_milp(
            problem, backend=backend, form=form, time_limit_s=limit_s, nodes=nodes
        )
    except Stopped:
        clock.cut()
        raise
    if _is_open(problem, found):
        clock.cut()
    return found


def _is_open(problem: Problem, found: Outcome) -> bool:
    if found.bound is None:
        return True
    return relative_gap(found.value, found.bound, problem.question.objective) > OPTIMAL_GAP


def _without(problem: Problem, stopped: Stopped, method: str) -> Outcome:
    """A fast method's plan in place of a program's that ended without one.

    The bound is the tighter of what both proved.
    """
    from solver.milp import violations

    try:
        quick = quick_plan(problem)
    except Infeasible as error:
        # Proven: that is the better answer.
        raise (error if error.proven else stopped) from None
    except Stopped:
        raise stopped from None
    if violations(problem, quick.allocation):
        raise stopped
    said = f"{method}, stopped without a plan; plan by {quick.method}"
    shortest = problem.question.objective == "time"
    own, other = quick.bound, stopped.bound
    if other is None or (own is not None and (other <= own if shortest else other >= own)):
        return replace(quick, method=said)
    # A solver's bound is right within its tolerances; it does not contradict a plan.
    bound = (min if shortest else max)(other, quick.value)
    return replace(quick, bound=bound, method=f"{said}, bound by the program")


def quick_plan(problem: Problem) -> Outcome:
    """Answer as fast as is possible; little of the time is left."""
    from solver.exact import maximise_utility
    from solver.policies.exact import plan as by_objective

    if problem.question.objective == "utility":
        return maximise_utility(problem, branching=False)
    return by_objective(problem)
