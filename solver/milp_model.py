"""Shared or own ranks and depths as a mixed-integer program, in its disaggregated form.

Written from the raw affine costs and nothing that the dynamic program uses, so that it can
contradict it. Layers j count from the output.

======== ======================================================= ============
symbol   meaning                                                 size
======== ======================================================= ============
i        device (a row of `solver.devices`, `count` alike)       N
j        layer from the output; depth k                          L
r        rank choice                                             R
y[j,r]   1 if layer j has rank r (shared and capped ranks)       L R, binary
z[i,r]   1 if device i has cap r (capped ranks only)             N R, binary
x[i,k]   1 if device i adapts at least k layers                  N L, binary
u[i,j,r] 1 if device i adapts layer j at rank r                  N L R, in [0, 1]
d        step of an arithmetic progression of ranks             1, if asked for
T        time of the slowest device, as a share of the longest   1, if needed
         that any device could take
======== ======================================================= ============

Every row is divided by its limit and the objective by the largest utility, so that the
solver's absolute tolerances are relative ones.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self

import numpy as np
import pulp

from profiler.schema import InputError
from solver.allocation import Allocation, cost
from solver.costs import Resource
from solver.devices import Ints
from solver.milp_links import busy_times
from solver.problem import Problem

Values = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A program and how to read its solution.

    Parameters
    ----------
    program : pulp.LpProblem
    read : callable
        Turns the values of a solution, by name, into an allocation.
    unit : float
        Utility (or seconds) that one unit of the objective stands for.
    """

    program: Any
    read: Callable[[Values], Allocation]
    unit: float


@dataclass(slots=True, kw_only=True)
class _Build:
    """A program under construction with its variables."""

    problem: Problem
    program: Any
    y: list[list[Any]]
    z: list[list[Any]]
    x: list[list[Any]]
    u: list[list[list[Any]]]
    names: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, problem: Problem) -> Self:
        question = problem.question
        minimise = question.objective == "time"
        program = pulp.LpProblem("legend", pulp.LpMinimize if minimise else pulp.LpMaximize)
        own, capped = question.structure == "own", question.structure == "capped"
        devices, ranks = range(len(problem.costs.devices)), problem.ranks.tolist()
        layers = range(1, problem.layers + 1)

        def binary(name: str, least: int = 0) -> Any:
            return program.add_variable(name, least, 1, pulp.LpInteger)

        def rank_taken(i: int, j: int, r: int) -> Any:
            kind = pulp.LpInteger if own else pulp.LpContinuous
            return program.add_variable(f"u[{i},{j},{r}]", 0, 1, kind)

        return cls(
            problem=problem,
            program=program,
            y=[] if own else [[binary(f"y[{j},{r}]") for r in ranks] for j in layers],
            z=[[binary(f"z[{i},{r}]") for r in ranks] for i in devices] if capped else [],
            x=[
                [binary(f"x[{i},{k}]", int(k <= question.min_depth)) for k in layers]
                for i in devices
            ],
            u=[[[rank_taken(i, j, r) for r in ranks] for j in layers] for i in devices],
        )

    def hold(self, constraint: Any, name: str) -> None:
        """Add a constraint under its name, numbered where PuLP's alphabet makes two equal."""
        plain = name.translate(pulp.LpVariable.trans)
        number = 1
        while plain in self.names:
            number += 1
            plain = f"{name}.{number}".translate(pulp.LpVariable.trans)
        self.names.add(plain)
        self.program.addConstraint(constraint, plain)


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


def _written(problem: Problem, *, elastic: bool) -> tuple[_Build, list[Any], float, Any]:
    """Everything but the objective; also the slacks, T, and the seconds of its unit."""
    _check(problem)
    build = _Build.of(problem)
    question = problem.question
    _nest_depths(build)
    _take_one_rank(build)
    if build.z:
        _cap_ranks(build)
    elif build.y:
        _share_ranks(build)
        if question.rank_shape != "free":
            _rise(build)
        if question.rank_shape == "progression":
            _rise_evenly(build)
    for q in problem.costs.resources:
        _limit(build, q)
    _limit_links(build)
    slacks: list[Any] = []

    def slack(name: str, most: float | None = None) -> Any:
        if not elastic:
            return 0
        slacks.append(build.program.add_variable(f"slack_{name}", 0, most))
        return slacks[-1]

    if question.budgets.rank_budget is not None:
        _limit_rank_sum(build, question.budgets.rank_budget, slack("rank_budget"))
    unit_s, round_time = 1.0, None
    if question.objective == "time" or question.budgets.mean_wait_s is not None:
        unit_s, round_time = _round_time(build)
        if question.budgets.mean_wait_s is not None:
            wait = slack("mean_wait")
            _limit_wait(build, round_time, unit_s, question.budgets.mean_wait_s, wait)
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


def _nest_depths(build: _Build) -> None:
    """Depth k_i as a staircase: ``x[i,k+1] <= x[i,k]``; ``x[i,k] = 1`` up to the least depth.

    The latter is a bound of the variable.
    """
    for name, row in zip(build.problem.costs.devices.names, build.x, strict=True):
        for k in range(1, len(row)):
            build.hold(row[k] <= row[k - 1], f"nested[{name},{k + 1}]")


def _take_one_rank(build: _Build) -> None:
    """An adapted layer has one rank, ``k_i >= j``: ``sum_r u[i,j,r] = x[i,j]``."""
    for name, row, taken in zip(
        build.problem.costs.devices.names, build.x, build.u, strict=True
    ):
        for j, (adapted, choices) in enumerate(zip(row, taken, strict=True), start=1):
            build.hold(pulp.lpSum(choices) == adapted, f"one_rank[{name},{j}]")


def _share_ranks(build: _Build) -> None:
    """The product ``u[i,j,r] = x[i,j] y[j,r]``: ``u <= y``, ``sum_r y[j,r] <= 1``.

    ``u <= x`` follows from the one rank an adapted layer has. A layer that nobody adapts may
    have no rank, and so adds nothing to the rank sum.
    """
    ranks = build.problem.ranks.tolist()
    for j, choices in enumerate(build.y, start=1):
        build.hold(pulp.lpSum(choices) <= 1, f"one_shared_rank[{j}]")
    for name, taken in zip(build.problem.costs.devices.names, build.u, strict=True):
        for j, (own, shared) in enumerate(zip(taken, build.y, strict=True), start=1):
            for rank, mine, ours in zip(ranks, own, shared, strict=True):
                build.hold(mine <= ours, f"shared_rank[{name},{j},{rank}]")


def _rise(build: _Build) -> None:
    """Ranks never fall towards the output: ``r_{j+1} <= r_j`` where layer j + 1 has a rank.

    By tails over the rank choices: ``sum_{r' >= r} y[j+1,r'] <= sum_{r' >= r} y[j,r']``.
    """
    ranks = build.problem.ranks.tolist()
    for j, (near, far) in enumerate(pairwise(build.y), start=1):
        for m, rank in enumerate(ranks):
            build.hold(pulp.lpSum(far[m:]) <= pulp.lpSum(near[m:]), f"rising[{j + 1},{rank}]")


def _rise_evenly(build: _Build) -> None:
    """By one step d: ``r_j - r_{j+1} = d`` where layer j + 1 has a rank.

    With ``r_j = sum_r r y[j,r]`` and r_max the largest choice, ``|r_j - r_{j+1} - d| <= r_max
    (1 - sum_r y[j+1,r])``.
    """
    ranks = build.problem.ranks.tolist()
    most = ranks[-1]
    step = build.program.add_variable("d", 0, most, pulp.LpInteger)
    taken = [
        pulp.LpAffineExpression([(y, r) for y, r in zip(row, ranks, strict=True)])
        for row in build.y
    ]
    for j, (near, far) in enumerate(pairwise(taken), start=1):
        slack = most * (1 - pulp.lpSum(build.y[j]))
        build.hold(near - far - step <= slack, f"step_at_most[{j + 1}]")
        build.hold(step - near + far <= slack, f"step_at_least[{j + 1}]")


def _cap_ranks(build: _Build) -> None:
    """A device's rank ``min(r_j, cap_i)``, as products of tails over the rank choices.

    With tails ``A[r] = sum_{r' >= r} a[r']`` that is ``U[i,j,r] = x[i,j] Y[j,r] Z[i,r]``, or
    ``U <= Y``, ``U <= Z``, ``U >= x + Y + Z - 2``; ``U <= x`` by the one rank a layer has.
    """
    ranks = build.problem.ranks.tolist()
    for j, choices in enumerate(build.y, start=1):
        build.hold(pulp.lpSum(choices) <= 1, f"one_shared_rank[{j}]")
    names = build.problem.costs.devices.names
    for name, caps, row, taken in zip(names, build.z, build.x, build.u, strict=True):
        build.hold(pulp.lpSum(caps) == 1, f"one_cap[{name}]")
        for j, (adapted, own, shared) in enumerate(zip(row, taken, build.y, strict=True), 1):
            for m, rank in enumerate(ranks):
                mine, ours, cap = (pulp.lpSum(each[m:]) for each in (own, shared, caps))
                build.hold(mine <= ours, f"below_shared[{name},{j},{rank}]")
                build.hold(mine <= cap, f"below_cap[{name},{j},{rank}]")
                least = adapted + ours + cap - 2
                build.hold(mine >= least, f"least_of_both[{name},{j},{rank}]")


def _limit(build: _Build, q: Resource) -> None:
    """One resource of every device.

    ``fixed[k_i] + sum_{j <= k_i} slope[j] r_j <= limit``, with ``fixed[k_i] = fixed[0] +
    sum_k (fixed[k] - fixed[k-1]) x[i,k]`` and ``r_j`` on device i ``= sum_r r u[i,j,r]``.
    """
    for i, name in enumerate(build.problem.costs.devices.names):
        limit = float(q.limit[i])
        if np.isfinite(limit):
            unit = limit if limit > 0 else 1.0
            spent = _cost(build, q, i, unit)
            build.hold(spent <= limit / unit, f"{q.name.replace(' ', '_')}[{name}]")


def _cost(build: _Build, q: Resource, i: int, unit: float) -> Any:
    """Cost of device i as an expression, in `unit`."""
    costs = build.problem.costs
    c = int(costs.devices.class_index[i])
    by_depth = q.scale[i] * q.by_depth[c]
    if q.spare is not None and q.saving is not None:
        by_depth = by_depth - q.saving[i] * q.spare[c]
    deeper = np.diff(by_depth) / unit
    per_rank = q.slopes(i, c, costs.sizes) / unit
    terms = list(zip(build.x[i], deeper.tolist(), strict=True))
    for choices, slope in zip(build.u[i], per_rank.tolist(), strict=True):
        ranks = build.problem.ranks.tolist()
        terms += [(taken, slope * r) for taken, r in zip(choices, ranks, strict=True)]
    fixed = float(by_depth[0] + q.offset[i]) / unit
    return pulp.LpAffineExpression(terms, constant=fixed)


def _limit_links(build: _Build) -> None:
    """A shared link passes everybody's bytes within the round time: ``busy_e <= limit``."""
    limit_s = build.problem.question.budgets.round_time_s
    if limit_s is None:
        return
    unit_s = limit_s if limit_s > 0 else 1.0
    busy = busy_times(build.problem.costs, build.problem.ranks, build.u, unit_s)
    for name, expression in busy.items():
        build.hold(expression <= limit_s / unit_s, f"link[{name}]")


def _limit_rank_sum(build: _Build, budget: int, slack: Any = 0) -> None:
    """``sum_j r_j <= budget (1 + slack)``: ``sum_j sum_r r y[j,r]`` on the left."""
    ranks = build.problem.ranks.tolist()
    total = pulp.LpAffineExpression(
        [(y, r) for row in build.y for y, r in zip(row, ranks, strict=True)]
    )
    build.hold(total - max(budget, 1) * slack <= budget, "rank_budget")


def _round_time(build: _Build) -> tuple[float, Any]:
    """``T = max_i t_i``, relaxed to ``T >= t_i``: a larger T only waits and lasts longer."""
    problem = build.problem
    costs, n = problem.costs, len(problem.costs.devices)
    rows = np.full((1, problem.layers), problem.ranks[-1])
    nobody, deepest = np.zeros(n, dtype=np.int64), np.full(n, problem.layers)
    longest_s = float(cost(costs, costs.seconds, rows, nobody, deepest).max()) or 1.0
    round_time = build.program.add_variable("T", 0)
    for i, name in enumerate(costs.devices.names):
        own = _cost(build, costs.seconds, i, longest_s)
        build.hold(own <= round_time, f"slowest[{name}]")
    for name, busy in busy_times(costs, problem.ranks, build.u, longest_s).items():
        build.hold(busy <= round_time, f"busiest[{name}]")
    return longest_s, round_time


def _limit_wait(
    build: _Build, round_time: Any, unit_s: float, epsilon_s: float, slack: Any = 0
) -> None:
    """``mean_i (T - t_i) <= epsilon`` over all devices: linear, since all take part.

    The slack is in shares of epsilon, or of the unit where that is 0.
    """
    costs = build.problem.costs
    share = costs.devices.count / costs.devices.count.sum()
    own = [_cost(build, costs.seconds, i, unit_s) for i in range(len(share))]
    mean = pulp.lpSum(w * t for w, t in zip(share.tolist(), own, strict=True))
    given = (epsilon_s or unit_s) / unit_s * slack
    build.hold(round_time - mean - given <= epsilon_s / unit_s, "mean_wait")


def _utility(build: _Build) -> tuple[float, Any]:
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


def _read(build: _Build, values: Values) -> Allocation:
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
