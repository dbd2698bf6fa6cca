"""The planning problem as a mixed-integer program: the oracle, and the escape hatch.

It answers the same questions as the dynamic program from the raw costs, in one of two forms:
`solver.milp_model` (any costs, own ranks, mean wait, least time) and `solver.milp_arcs`
(proportional costs, independent of the number of devices). A solver is never believed: its
allocation is priced again by `solver.costs`, and what breaks a limit is no answer.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Literal

import numpy as np

from profiler.schema import InputError
from solver.allocation import Allocation, cost, mean_wait_s, round_time_s, utility
from solver.errors import Stopped
from solver.explain import infeasible, least_allocation, too_low, without_plan
from solver.links_said import overloaded
from solver.milp_arcs import arcs
from solver.milp_model import Model, disaggregated
from solver.milp_run import Answer, Backend, run
from solver.outcome import Outcome
from solver.problem import Problem

Form = Literal["disaggregated", "arcs"]

FORMS: dict[Form, Callable[[Problem], Model]] = {"disaggregated": disaggregated, "arcs": arcs}
PACKAGES: dict[Backend, tuple[str, str]] = {
    "highs": ("highspy", "highspy"),
    "cbc": ("cbcbox", "pulp[cbc]"),
}
# What a row may be passed by: what the checker allows.
TOLERANCE = 1e-9


def solve_milp(
    problem: Problem,
    *,
    backend: Backend = "highs",
    form: Form = "disaggregated",
    time_limit_s: float = 60.0,
) -> Outcome:
    """Solve with a general solver, in a process that is killed when its time is up.

    Parameters
    ----------
    problem : Problem
        Objective 'utility', 'legend' or 'time'.
    backend : {'highs', 'cbc'}
    form : {'disaggregated', 'arcs'}
    time_limit_s : float
        Wall clock of the solver; writing the program comes on top.

    Returns
    -------
    Outcome
        Value and costs recomputed; the bound is the solver's, if it proved one.

    Raises
    ------
    Infeasible
        If there is no plan.
    Stopped
        If the solver came back with nothing that can be used.
    InputError
        If this question has no such program or the backend is not installed.
    """
    _check(backend, form, time_limit_s)
    reason = without_plan(problem) or overloaded(problem, least_allocation(problem))
    if reason is not None:
        raise reason
    model = FORMS[form](problem)
    answer = run(model.program, backend, time_limit_s)
    return verified(problem, model, answer, f"mixed-integer program, {form}, {backend}")


def _check(backend: str, form: str, time_limit_s: float) -> None:
    if backend not in PACKAGES or form not in FORMS:
        raise InputError(
            f"backend '{backend}' and form '{form}'; expected one of {', '.join(PACKAGES)} "
            f"and one of {', '.join(FORMS)}"
        )
    if not 0 < time_limit_s < float("inf"):
        raise InputError(f"time limit is {time_limit_s} s; expected above 0, and finite")
    module, package = PACKAGES[backend]
    if find_spec(module) is None:
        raise InputError(
            f"backend '{backend}' is not installed; install it with: pip install '{package}'"
        )


def verified(problem: Problem, model: Model, answer: Answer | None, method: str) -> Outcome:
    """Turn an answer into an outcome, or raise; see `solve_milp`."""
    if answer is None or answer.status == "unknown":
        raise Stopped(
            f"{method}: stopped without a plan; raise --time-limit or use --method dp"
        )
    if answer.status == "infeasible":
        raise _no_plan(problem, method)
    allocation = model.read(answer.values)
    broken = violations(problem, allocation)
    if broken:
        raise Stopped(f"{method}: its answer breaks {broken[0]}; use --method dp")
    shortest = problem.question.objective == "time"
    value = (round_time_s if shortest else utility)(problem, allocation)
    bound = None
    if answer.bound is not None:
        bound = (min if shortest else max)(answer.bound * model.unit, value)
    return Outcome(allocation=allocation, value=value, bound=bound, method=method)


def _no_plan(problem: Problem, method: str) -> Exception:
    """Believe that there is no plan only where the least configuration is not one."""
    question = problem.question
    if question.budgets.mean_wait_s is not None:
        return infeasible(problem)
    if question.objective == "time":
        return too_low(question.min_utility or 0.0)
    return Stopped(f"{method}: finds no plan where there is one; use --method dp")


def violations(problem: Problem, allocation: Allocation) -> list[str]:
    """Name every limit that an allocation of all devices breaks."""
    question, costs = problem.question, problem.costs
    broken = []
    if (allocation.depth < question.min_depth).any():
        broken.append("the least depth")
    for q in costs.resources:
        spent = cost(costs, q, allocation.rows, allocation.row, allocation.depth)
        over = np.flatnonzero(spent > q.limit * (1 + TOLERANCE))
        broken += [f"{q.name} of {costs.devices.names[i]}" for i in over]
    adapted = np.arange(problem.layers) < allocation.depth[:, None]
    if not (allocation.rows[allocation.row][adapted] > 0).all():
        broken.append("the ranks of adapted layers")
    over_links = overloaded(problem, allocation, least=False)
    if over_links is not None:
        broken += [s.device for s in over_links.shortfalls]
    budgets = question.budgets
    if budgets.rank_budget is not None and _rank_sum(allocation) > budgets.rank_budget:
        broken.append("the rank budget")
    epsilon_s = budgets.mean_wait_s
    if epsilon_s is not None:
        slack_s = TOLERANCE * max(epsilon_s, round_time_s(problem, allocation))
        if mean_wait_s(problem, allocation) > epsilon_s + slack_s:
            broken.append("the mean wait")
    if question.objective == "time":
        floor = question.min_utility or 0.0
        if utility(problem, allocation) < floor * (1 - TOLERANCE):
            broken.append("the least utility")
    return broken


def _rank_sum(allocation: Allocation) -> int:
    """Sum over layers of the largest rank in use."""
    layer = np.arange(allocation.rows.shape[1])
    held = np.where(layer < allocation.depth[:, None], allocation.rows[allocation.row], 0)
    return int(held.max(axis=0, initial=0).sum())
