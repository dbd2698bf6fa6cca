"""A general solver on a mixed-integer program: the oracle, see `solver.milp`.

Where its time ends before it has a plan, the answer is the plan of a fast method, and says so.
Under a time limit of the user's that plan is made first, in a share of the time; without one
only where it is needed. It tells the program nothing: an oracle is to find out by itself.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from solver.deadline import Clock, current, within
from solver.errors import Infeasible, Stopped
from solver.methods.settings import Settings
from solver.milp.run import Backend
from solver.outcome import OPTIMAL_GAP, Outcome, relative_gap
from solver.problem import Problem

if TYPE_CHECKING:
    from solver.milp.solve import Form

# Nodes of a search that has no time limit, and when it is killed all the same.
NODES, KILLED_S = 200_000, 600.0
# Share of the user's time limit for a plan to fall back on.
START_SHARE = 0.25

# A plan to fall back on, or why there is none.
Start = Outcome | Infeasible | Stopped


def plan(problem: Problem, settings: Settings) -> Outcome:
    """Solve by arc flow where it holds, in the disaggregated form otherwise."""
    from solver.milp.arcs import arcs_hold

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
    clock = current()
    start = _start(problem, clock) if _timed(clock) else None
    try:
        return _within_limits(problem, backend, form, NODES, KILLED_S)
    except Stopped as stopped:
        from solver.milp.solve import method_name

        start = _start(problem, clock) if start is None else start
        return _without(problem, start, stopped, method_name(form, backend))


def _timed(clock: Clock) -> bool:
    return clock.left_s() < float("inf")


def _start(problem: Problem, clock: Clock) -> Start:
    """A fast method's answer."""
    cut_short = clock.cut_short
    try:
        with within(START_SHARE * clock.left_s() if _timed(clock) else None):
            return quick_plan(problem)
    except (Infeasible, Stopped) as error:
        return error
    finally:
        # That it was cut short is nothing to an answer that does not need it.
        clock.cut_short = cut_short


def _within_limits(
    problem: Problem, backend: Backend, form: "Form", most_nodes: int, killed_s: float
) -> Outcome:
    from solver.milp.solve import solve_milp

    clock = current()
    # A time limit of the user's comes before limits of ours.
    timed = _timed(clock)
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


def _without(problem: Problem, start: Start, stopped: Stopped, method: str) -> Outcome:
    """A fast method's plan in place of a program's that ended without one.

    The bound is the tighter of what both proved.
    """
    from solver.milp.solve import violations

    if isinstance(start, Infeasible) and start.proven:
        raise start
    if not isinstance(start, Outcome):
        reason = start.reason if isinstance(start, Infeasible) else str(start)
        raise Stopped(
            f"{method}: stopped without a plan, and a fast method has none either: "
            f"{reason.rstrip('.')}. Give --time-limit more",
            bound=stopped.bound,
        )
    if violations(problem, start.allocation):
        raise stopped
    said = f"{method}, stopped without a plan; plan by {start.method}"
    shortest = problem.question.objective == "time"
    own, other = start.bound, stopped.bound
    if other is None or (own is not None and (other <= own if shortest else other >= own)):
        return replace(start, method=said)
    # A solver's bound is right within its tolerances; it does not contradict a plan.
    bound = (min if shortest else max)(other, start.value)
    return replace(start, bound=bound, method=f"{said}, bound by the program")


def quick_plan(problem: Problem) -> Outcome:
    """Answer as fast as is possible; little of the time is left."""
    from solver.exact import maximise_utility
    from solver.policies.exact import plan as by_objective

    if problem.question.objective == "utility":
        return maximise_utility(problem, branching=False)
    return by_objective(problem)
