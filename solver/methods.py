"""Which method answers the exact policy's question: dynamic program, mixed-integer program.

`auto` takes the dynamic program, and where that leaves a gap on a question small enough,
lets a general solver close it: the better plan and the tighter bound of the two.
"""

from dataclasses import replace
from typing import Literal

from solver.errors import Infeasible, Stopped
from solver.milp_run import Backend
from solver.outcome import OPTIMAL_GAP, Outcome, relative_gap
from solver.policies.exact import plan as dynamic_program
from solver.problem import Problem

Method = Literal["auto", "dp", "milp"]

METHODS: tuple[Method, ...] = ("auto", "dp", "milp")
# Devices times layers times ranks of the programs that a solver closes within seconds.
SMALL = 4000


def plan_with(
    problem: Problem,
    *,
    method: Method = "auto",
    backend: Backend = "highs",
    time_limit_s: float = 60.0,
) -> Outcome:
    """Answer with a method of choice; raises what `solver.milp.solve_milp` does.

    Parameters
    ----------
    problem : Problem
    method : {'auto', 'dp', 'milp'}
    backend : {'highs', 'cbc'}
    time_limit_s : float
        Wall clock of the general solver.
    """
    found: Outcome | Infeasible | Stopped | None = None
    if method != "milp":
        try:
            found = dynamic_program(problem)
        except (Infeasible, Stopped) as error:
            found = error
    if method == "milp" or (method == "auto" and _worth_a_program(problem, found)):
        from solver.milp import solve_milp

        try:
            closed = solve_milp(problem, backend=backend, time_limit_s=time_limit_s)
            found = _both(problem, found, closed) if isinstance(found, Outcome) else closed
        except Stopped:
            if found is None:
                raise
    if not isinstance(found, Outcome):
        assert found is not None
        raise found
    return found


def _worth_a_program(problem: Problem, found: Outcome | Infeasible | Stopped | None) -> bool:
    """Whether a question is open, small, and one that a linear program can pose."""
    question = problem.question
    if question.objective == "efficiency" or problem.gains.size * _rows(problem) > SMALL:
        return False
    if isinstance(found, Outcome):
        return _gap(problem, found) > OPTIMAL_GAP
    # A search that found nothing proves nothing, where limits act on devices together.
    return question.budgets.mean_wait_s is not None or isinstance(found, Stopped)


def _rows(problem: Problem) -> int:
    return len(problem.costs.devices)


def _gap(problem: Problem, found: Outcome) -> float:
    bound = found.bound
    if bound is None:
        return 1.0
    return relative_gap(found.value, bound, problem.question.objective)


def _both(problem: Problem, one: Outcome, other: Outcome) -> Outcome:
    """The better plan and the tighter bound of two outcomes."""
    least = problem.question.objective == "time"
    better = min if least else max
    tighter = max if least else min
    best = one if better(one.value, other.value) == one.value else other
    bounds = [o.bound for o in (one, other) if o.bound is not None]
    bound = better(tighter(bounds), best.value) if bounds else None
    return replace(best, bound=bound, method=f"{one.method}; {other.method}")
