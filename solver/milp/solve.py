"""Ask a general solver for a plan, and believe none of its answers.

It answers the same questions as the dynamic program from the raw costs, in one of two forms:
`solver.milp.model` (any costs, own ranks, mean wait, least time) and `solver.milp.arcs`
(proportional costs, independent of the number of devices). A solver is never believed: its
allocation is priced again by `solver.costs.build`, and what breaks a limit is no answer.
"""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Literal

import numpy as np
from msgspec.structs import replace as replace_fields

from profiler.schema import InputError
from solver.allocation import (
    Allocation,
    cost,
    mean_wait_s,
    round_time_s,
    server_ranks,
    utility,
)
from solver.deadline import current, expired
from solver.deepest import as_depth, depth_first
from solver.errors import Infeasible, Stopped
from solver.explain.infeasible import infeasible, too_low, without_plan
from solver.least import least_allocation
from solver.links.said import overloaded
from solver.milp.arcs import arcs
from solver.milp.build import Model
from solver.milp.model import disaggregated, elastic
from solver.milp.run import Answer, Backend, run
from solver.outcome import Outcome
from solver.problem import Problem
from solver.question import Question
from solver.shapes import keeps_shape
from solver.show.figures import rounded

Form = Literal["disaggregated", "arcs"]

FORMS: dict[Form, Callable[[Problem], Model]] = {"disaggregated": disaggregated, "arcs": arcs}
PACKAGES: dict[Backend, tuple[str, str]] = {
    "highs": ("highspy", "highspy"),
    "cbc": ("cbcbox", "pulp[cbc]"),
}
# A limit of no time is none.
SHORTEST_S = 0.01
# What a row may be passed by: what the checker allows.
TOLERANCE = 1e-9


def solve_milp(
    problem: Problem,
    *,
    backend: Backend = "highs",
    form: Form = "disaggregated",
    time_limit_s: float = 60.0,
    nodes: int | None = None,
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
    nodes : int, optional
        Most nodes of its search: a bound that does not depend on the machine's speed.

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
    if problem.question.objective == "legend":
        asked = replace_fields(problem.question, objective="utility")
        deepest = replace(depth_first(problem), question=asked)
        # What it raises needs no translation: a bound there is a bound on the depth.
        found = solve_milp(
            deepest, backend=backend, form=form, time_limit_s=time_limit_s, nodes=nodes
        )
        return as_depth(problem, found)
    reason = without_plan(problem) or overloaded(problem, least_allocation(problem))
    if reason is not None:
        raise reason
    model = FORMS[form](problem)
    # Writing a large program takes long; what is left of the user's time may be less by now.
    time_limit_s = min(time_limit_s, max(current().left_s(), SHORTEST_S))
    answer = None
    if not expired():
        answer = run(model.program, backend, time_limit_s, nodes)
    if answer is not None and answer.status == "infeasible":
        raise _no_plan(problem, method_name(form, backend), backend, time_limit_s, nodes)
    return verified(problem, model, answer, method_name(form, backend))


def method_name(form: str, backend: str) -> str:
    """What a certificate calls the method."""
    return f"mixed-integer program, {form}, {backend}"


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
        proven = None if answer is None else answer.bound
        raise Stopped(
            f"{method}: stopped without a plan; give --time-limit more or use --method dp",
            bound=None if proven is None else proven * model.unit,
        )
    if answer.status == "infeasible":
        raise Stopped(f"{method}: finds no plan; use --method dp")
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


def _no_plan(
    problem: Problem, method: str, backend: Backend, time_limit_s: float, nodes: int | None
) -> Exception:
    """Believe that there is no plan only where the least configuration is not one."""
    question = problem.question
    if question.budgets.mean_wait_s is None and question.objective != "time":
        return Stopped(f"{method}: finds no plan where there is one; use --method dp")
    model = elastic(problem)
    relaxed = _relaxed(problem, model, run(model.program, backend, time_limit_s, nodes))
    if relaxed is not None:
        repair = f"What breaks them least: {relaxed}."
        return Infeasible(
            reason="every device can keep its own limits, but no plan keeps "
            f"{_asked(question)} as well. {repair}",
            repair=repair,
        )
    if question.budgets.mean_wait_s is not None:
        return infeasible(problem)
    return too_low(question.min_utility or 0.0)


def _asked(question: Question) -> str:
    """Side constraints in force, in words."""
    budgets, floor = question.budgets, question.min_utility
    said = []
    if budgets.rank_budget is not None:
        said.append(f"a rank budget of {budgets.rank_budget}")
    if budgets.mean_wait_s is not None:
        said.append(f"a mean wait of {budgets.mean_wait_s:.6g} s")
    if question.objective == "time" and floor is not None:
        said.append(f"a least utility of {floor:.6g}")
    return " and ".join(said)


def _relaxed(problem: Problem, model: Model, answer: Answer | None) -> str | None:
    """Side constraints as an elastic answer needs them, checked; None without one."""
    if answer is None or answer.status not in ("optimal", "feasible"):
        return None
    allocation = model.read(answer.values)
    question, needs, changed = problem.question, [], problem
    budgets = question.budgets
    total, wait_s = _rank_sum(allocation), mean_wait_s(problem, allocation)
    reached = utility(problem, allocation)
    if budgets.rank_budget is not None and total > budgets.rank_budget:
        needs.append(f"a rank budget of {total} instead of {budgets.rank_budget}")
        changed = changed.under(rank_budget=total)
    if budgets.mean_wait_s is not None and wait_s > budgets.mean_wait_s * (1 + TOLERANCE):
        text = rounded(wait_s, up=True)
        needs.append(f"a mean wait of {text} s instead of {budgets.mean_wait_s:.6g} s")
        changed = changed.under(mean_wait_s=float(text))
    floor = question.min_utility
    if question.objective == "time" and floor is not None and reached < floor:
        text = rounded(reached, up=False)
        needs.append(f"a least utility of {text} instead of {floor:.6g}")
        changed = changed.asking(replace_fields(changed.question, min_utility=float(text)))
    return None if not needs or violations(changed, allocation) else " and ".join(needs)


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
    shared = question.structure == "shared"
    if shared and not keeps_shape(question.rank_shape, server_ranks(allocation)):
        broken.append("the shape of the ranks")
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
    return int(server_ranks(allocation).sum())
