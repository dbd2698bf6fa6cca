"""Shared or own ranks and depths as a mixed-integer program, in its disaggregated form.

Written from the raw affine costs and nothing that the dynamic program uses, so that it can
contradict it. Its symbols stand in `solver.milp.build`, its rows in `solver.milp.ranks` and
`solver.milp.limits`. Rows are divided by their limits and the objective by the largest
utility, so that the solver's absolute tolerances are relative ones.
"""

from typing import Any

import numpy as np
import pulp

from profiler.schema import InputError
from solver.allocation import Allocation
from solver.costs.devices import Ints
from solver.milp.build import Build, Model, Values
from solver.milp.limits import (
    limit_links,
    limit_rank_sum,
    limit_resource,
    limit_wait,
    slowest,
)
from solver.milp.ranks import (
    cap_ranks,
    nest_depths,
    rise,
    rise_evenly,
    share_ranks,
    take_one_rank,
)
from solver.problem import Problem


def disaggregated(problem: Problem) -> Model:
    """Write the problem out.

    Raises
    ------
    InputError
        If the question is not one of this program: objective 'utility', 'legend' or 'time'.
    """
    build, _, unit_s, round_time = _written(problem, elastic=False)
    unit, utility = _utility(build)
    if problem.question.objective == "time":
        unit, utility = unit_s, round_time + 0.0
    build.program.setObjective(utility)
    return Model(program=build.program, read=lambda v: _read(build, v), unit=unit)


def elastic(problem: Problem) -> Model:
    """Write the problem out with side constraints that give: what breaks them least.

    The limits on devices hold. A side constraint (rank budget, mean wait, least utility) may
    be passed by a slack, in shares of its limit, and the sum of the slacks is minimised.
    """
    build, slacks, _, _ = _written(problem, elastic=True)
    build.program.sense = pulp.LpMinimize
    build.program.setObjective(pulp.lpSum(slacks))
    return Model(program=build.program, read=lambda v: _read(build, v), unit=1.0)


def _written(problem: Problem, *, elastic: bool) -> tuple[Build, list[Any], float, Any]:
    """Everything but the objective; also the slacks, T, and the seconds of its unit."""
    _check(problem)
    build = Build.of(problem)
    question = problem.question
    nest_depths(build)
    take_one_rank(build)
    if build.z:
        cap_ranks(build)
    elif build.y:
        share_ranks(build)
        if question.rank_shape != "free":
            rise(build)
        if question.rank_shape == "progression":
            rise_evenly(build)
    for q in problem.costs.resources:
        limit_resource(build, q)
    limit_links(build)
    slacks: list[Any] = []

    def slack(name: str, most: float | None = None) -> Any:
        if not elastic:
            return 0
        slacks.append(build.program.add_variable(f"slack_{name}", 0, most))
        return slacks[-1]

    if question.budgets.rank_budget is not None:
        limit_rank_sum(build, question.budgets.rank_budget, slack("rank_budget"))
    unit_s, round_time = 1.0, None
    if question.objective == "time" or question.budgets.mean_wait_s is not None:
        unit_s, round_time = slowest(build)
        if question.budgets.mean_wait_s is not None:
            wait = slack("mean_wait")
            limit_wait(build, round_time, unit_s, question.budgets.mean_wait_s, wait)
    if question.objective == "time":
        unit, utility = _utility(build)
        floor = (question.min_utility or 0.0) / unit
        given = slack("least_utility", 1.0)
        build.hold(utility >= floor - floor * given, "least_utility")
    return build, slacks, unit_s, round_time


def _check(problem: Problem) -> None:
    question = problem.question
    if question.objective == "efficiency":
        raise InputError(
            "objective 'efficiency' is no linear one; use --method dp, or --objective time"
        )
    if question.objective == "time" and question.min_utility is None:
        raise InputError("objective 'time' needs a least utility; give --min-utility")
    if question.structure == "own" and question.budgets.rank_budget is not None:
        raise InputError(
            "a rank budget needs shared ranks; drop --rank-budget or --structure own"
        )


def _utility(build: Build) -> tuple[float, Any]:
    """``sum_i w_i sum_{j <= k_i} gain[j, r_j] = sum w_i gain[j,r] u[i,j,r]``, and its unit."""
    gains = build.problem.gains
    unit = float(gains.max(axis=1).sum()) or 1.0
    terms = [
        (taken, weight * gain)
        for weight, table in zip(build.problem.weights.tolist(), build.u, strict=True)
        for choices, row in zip(table, (gains / unit).tolist(), strict=True)
        for taken, gain in zip(choices, row, strict=True)
    ]
    return unit, pulp.LpAffineExpression(terms)


def _read(build: Build, values: Values) -> Allocation:
    """Depths and ranks of a solution, rounded: the caller checks that they still hold."""

    def on(variable: Any) -> int:
        return round(values.get(variable.name, 0.0))

    depth: Ints = np.array([sum(on(x) for x in row) for row in build.x], dtype=np.int64)
    ranks = build.problem.ranks.tolist()
    shared = bool(build.y) and not build.z
    tables = [build.y] if shared else build.u
    own = np.array(
        [[sum(r * on(v) for r, v in zip(ranks, row, strict=True)) for row in t] for t in tables]
    )
    if shared:
        # A rank beyond the deepest device belongs to nobody.
        own[:, depth.max(initial=0) :] = 0
        return Allocation(rows=own, row=np.zeros(len(depth), dtype=np.int64), depth=depth)
    rows, row = np.unique(own, axis=0, return_inverse=True)
    return Allocation(rows=rows, row=row.reshape(-1), depth=depth)
