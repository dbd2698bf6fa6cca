"""Rows of the mixed-integer program that say what must not be exceeded.

Symbols are those of `solver.milp.build`. Every row is divided by its limit, so that the
solver's absolute tolerances are relative ones.
"""

from typing import Any

import numpy as np
import pulp

from solver.allocation import cost
from solver.costs.build import Resource
from solver.milp.build import Build
from solver.milp.links import busy_times


def limit_resource(build: Build, q: Resource) -> None:
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


def _cost(build: Build, q: Resource, i: int, unit: float) -> Any:
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


def limit_links(build: Build) -> None:
    """A shared link passes everybody's bytes within the round time: ``busy_e <= limit``."""
    limit_s = build.problem.question.budgets.round_time_s
    if limit_s is None:
        return
    unit_s = limit_s if limit_s > 0 else 1.0
    busy = busy_times(build.problem.costs, build.problem.ranks, build.u, unit_s)
    for name, expression in busy.items():
        build.hold(expression <= limit_s / unit_s, f"link[{name}]")


def limit_rank_sum(build: Build, budget: int, slack: Any = 0) -> None:
    """``sum_j r_j <= budget (1 + slack)``: ``sum_j sum_r r y[j,r]`` on the left."""
    ranks = build.problem.ranks.tolist()
    total = pulp.LpAffineExpression(
        [(y, r) for row in build.y for y, r in zip(row, ranks, strict=True)]
    )
    build.hold(total - max(budget, 1) * slack <= budget, "rank_budget")


def slowest(build: Build) -> tuple[float, Any]:
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


def limit_wait(
    build: Build, round_time: Any, unit_s: float, epsilon_s: float, slack: Any = 0
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
