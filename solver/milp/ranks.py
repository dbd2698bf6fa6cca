"""Rows of the mixed-integer program that say which depths and ranks go together.

Symbols are those of `solver.milp.build`.
"""

from itertools import pairwise

import pulp

from solver.milp.build import Build


def nest_depths(build: Build) -> None:
    """Depth k_i as a staircase: ``x[i,k+1] <= x[i,k]``; ``x[i,k] = 1`` up to the least depth.

    The latter is a bound of the variable.
    """
    for name, row in zip(build.problem.costs.devices.names, build.x, strict=True):
        for k in range(1, len(row)):
            build.hold(row[k] <= row[k - 1], f"nested[{name},{k + 1}]")


def take_one_rank(build: Build) -> None:
    """An adapted layer has one rank, ``k_i >= j``: ``sum_r u[i,j,r] = x[i,j]``."""
    for name, row, taken in zip(
        build.problem.costs.devices.names, build.x, build.u, strict=True
    ):
        for j, (adapted, choices) in enumerate(zip(row, taken, strict=True), start=1):
            build.hold(pulp.lpSum(choices) == adapted, f"one_rank[{name},{j}]")


def share_ranks(build: Build) -> None:
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


def rise(build: Build) -> None:
    """Ranks never fall towards the output: ``r_{j+1} <= r_j`` where layer j + 1 has a rank.

    By tails over the rank choices: ``sum_{r' >= r} y[j+1,r'] <= sum_{r' >= r} y[j,r']``.
    """
    ranks = build.problem.ranks.tolist()
    for j, (near, far) in enumerate(pairwise(build.y), start=1):
        for m, rank in enumerate(ranks):
            build.hold(pulp.lpSum(far[m:]) <= pulp.lpSum(near[m:]), f"rising[{j + 1},{rank}]")


def rise_evenly(build: Build) -> None:
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


def cap_ranks(build: Build) -> None:
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
