"""Shared ranks as a flow through (depth, prefix sum) arcs: a program that does not know N.

For proportional costs (`solver.costs.capacity.exact`) a device can train depth k exactly
when the prefix sum S of the LoRA sizes is small enough, so the devices enter only as

    W[k,S] = weight of the devices whose every cost at depth k and prefix sum S is in limits.

========== ==================================================== =========================
symbol     meaning                                              size
========== ==================================================== =========================
(k, S)     node: ranks of the last k layers chosen, sizes S     about L^2 R, in whole units
f[k,S,r]   1 if layer k takes rank r and leads to node (k, S)   about L^2 R^2, in [0, 1]
========== ==================================================== =========================

A longest path: without a side constraint every vertex of the relaxation is a path, so it is
solved as a linear program and its gap is 0.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pulp

from profiler.schema import InputError
from solver.allocation import shared
from solver.costs.capacity import exact
from solver.costs.devices import Floats
from solver.costs.resource import TOLERANCE
from solver.milp.build import Model, Values, stop_if_expired
from solver.problem import Problem

# Cells of a device block times prefix sums that are in memory at once.
_CELLS = 1 << 22

Node = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arc:
    tail: Node
    head: Node
    rank: int
    gain: float
    flow: Any


def arcs(problem: Problem) -> Model:
    """Write the problem out.

    Raises
    ------
    InputError
        If costs are not proportional, ranks are not shared or not free in shape, or a mean
        wait is limited.
    """
    _check(problem)
    program = pulp.LpProblem("legend-arcs", pulp.LpMaximize)
    unit = float(problem.gains.max(axis=1).sum()) or 1.0
    found = _arcs(problem, program, unit)
    _conserve(problem, program, found)
    budget = problem.question.budgets.rank_budget
    if budget is not None:
        total = pulp.LpAffineExpression([(a.flow, a.rank) for a in found])
        program.addConstraint(total <= budget, "rank_budget")
    program.setObjective(pulp.LpAffineExpression([(a.flow, a.gain) for a in found]))
    return Model(
        program=program, read=lambda v: shared(problem, _path(problem, found, v)), unit=unit
    )


def arcs_hold(problem: Problem) -> bool:
    """Whether this form answers the question."""
    question = problem.question
    return (
        question.structure == "shared"
        and question.rank_shape == "free"
        and question.objective in ("utility", "legend")
        and question.budgets.mean_wait_s is None
        and problem.costs.links is None
        and exact(problem.costs, question.rank_choices[-1], question.min_depth)
    )


def _check(problem: Problem) -> None:
    if not arcs_hold(problem):
        raise InputError(
            "the arc form takes shared ranks of free shape, the largest utility, no mean wait, "
            "no shared links and costs per rank in proportion to the layers' sizes; use the "
            "disaggregated form"
        )


def _arcs(problem: Problem, program: Any, unit: float) -> list[_Arc]:
    """One arc ``(k-1, S - s_k r) -> (k, S)`` per reachable node and rank.

    Its gain is ``W[k,S] gain[k,r]``. Up to the least depth only nodes that every device
    carries are there; beyond it, those that some device carries.
    """
    sizes = problem.costs.sizes
    step = int(np.gcd.reduce(sizes))
    weight, everybody = carried(problem, step)
    budget = problem.question.budgets.rank_budget
    kind = pulp.LpContinuous if budget is None else pulp.LpInteger
    ranks = problem.ranks.tolist()
    found: list[_Arc] = []
    nodes = [0] if everybody[0, 0] or problem.question.min_depth > 0 else []
    for k in range(1, problem.layers + 1):
        size, heads = int(sizes[k - 1]) // step, set[int]()
        needed = everybody[k] if k <= problem.question.min_depth else weight[k] > 0
        for tail in nodes:
            stop_if_expired()
            for rank, gain in zip(ranks, (problem.gains[k - 1] / unit).tolist(), strict=True):
                head = tail + size * rank
                if needed[head]:
                    flow = program.add_variable(f"f[{k},{head},{rank}]", 0, 1, kind)
                    value = float(weight[k, head]) * gain
                    found.append(
                        _Arc(
                            tail=(k - 1, tail), head=(k, head), rank=rank, gain=value, flow=flow
                        )
                    )
                    heads.add(head)
        nodes = sorted(heads)
    return found


def carried(problem: Problem, step: int) -> tuple[Floats, Any]:
    """W[k,S] and whether every device carries S at depth k, both (L + 1, S + 1)."""
    costs, layers = problem.costs, problem.layers
    prefix = np.arange(int(costs.sizes.sum()) // step * int(problem.ranks[-1]) + 1) * step
    weight = np.zeros((layers + 1, len(prefix)))
    everybody = np.ones((layers + 1, len(prefix)), dtype=np.bool_)
    n = len(costs.devices)
    for block in np.array_split(np.arange(n), 1 + n * len(prefix) // _CELLS):
        c = costs.devices.class_index[block]
        for k in range(layers + 1):
            holds = np.ones((len(block), len(prefix)), dtype=np.bool_)
            for q in costs.resources:
                fixed = q[block].fixed(c, k) + q.offset[block]
                slope = q.scale[block] * q.per_rank[c, 0] / costs.sizes[0] + q.wire[block]
                spent = fixed[:, None] + slope[:, None] * prefix
                holds &= spent <= q.limit[block, None] * (1 + TOLERANCE)
            weight[k] += problem.weights[block] @ holds
            everybody[k] &= holds.all(axis=0)
    return weight, everybody


def _conserve(problem: Problem, program: Any, found: list[_Arc]) -> None:
    """Flow in is flow out, or more where the path may end; one unit leaves the source.

    A path may end at the least depth and beyond.
    """
    least = problem.question.min_depth
    into, out = defaultdict[Node, list[Any]](list), defaultdict[Node, list[Any]](list)
    for arc in found:
        into[arc.head].append(arc.flow)
        out[arc.tail].append(arc.flow)
    source = pulp.lpSum(out[0, 0])
    program.addConstraint(source <= 1 if least == 0 else source == 1, "source")
    for (k, prefix), flows in into.items():
        through = pulp.lpSum(flows) - pulp.lpSum(out[k, prefix])
        program.addConstraint(
            through >= 0 if k >= least else through == 0, f"node[{k},{prefix}]"
        )


def _path(problem: Problem, found: list[_Arc], values: Values) -> Any:
    """Ranks along the flow: any path that carries some is optimal; take the widest arcs."""
    leaving = defaultdict[Node, list[_Arc]](list)
    for arc in found:
        leaving[arc.tail].append(arc)
    ranks, node = np.zeros(problem.layers, dtype=np.int64), (0, 0)
    while leaving[node]:
        widest = max(leaving[node], key=lambda a: values.get(a.flow.name, 0.0))
        if values.get(widest.flow.name, 0.0) < 1 / 2 and node[0] >= problem.question.min_depth:
            break
        ranks[widest.head[0] - 1] = widest.rank
        node = widest.head
    return ranks
