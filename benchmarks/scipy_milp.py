"""The flow of `solver.milp.arcs` written as sparse matrices for ``scipy.optimize.milp``.

scipy brings a HiGHS and an interface of its own; nothing here knows PuLP. Arcs are columns,
nodes rows: -1 where an arc leaves, 1 where it arrives. Every layer is written at once, so that
writing the program does not hide how long solving it takes.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csc_array

from solver.allocation import Allocation, shared
from solver.costs.devices import Floats, Ints
from solver.milp.arcs import carried
from solver.problem import Problem

__all__ = ["Flow", "read", "solve", "write"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A longest path, its arcs in order of the layers.

    Attributes
    ----------
    gain : array, shape (A,)
        What an arc earns.
    rank : array of int, shape (A,)
    tail, head : array of int, shape (A,)
        Nodes, numbered layer by layer; 0 is the source.
    incidence : sparse array, shape (nodes, A)
    least, most : array, shape (nodes,)
        What flow a node may keep.
    """

    gain: Floats
    rank: Ints
    tail: Ints
    head: Ints
    incidence: csc_array
    least: Floats
    most: Floats


def write(problem: Problem) -> Flow:
    """Write out a problem that `solver.milp.arcs.arcs` takes.

    It must have no rank budget and a least depth of 1 or more.
    """
    sizes, ranks = problem.costs.sizes, problem.ranks
    step, min_depth = int(np.gcd.reduce(sizes)), problem.question.min_depth
    weight, everybody = carried(problem, step)
    unit = float(problem.gains.max(axis=1).sum()) or 1.0
    nodes, first, layers = np.zeros(1, dtype=np.int64), 0, [0]
    parts: list[tuple[Floats, Ints, Ints, Ints]] = []
    for k in range(1, problem.layers + 1):
        ends = nodes[:, None] + int(sizes[k - 1]) // step * ranks
        needed = everybody[k] if k <= min_depth else weight[k] > 0
        tail, choice = np.nonzero(needed[ends])
        end = ends[tail, choice]
        after, head = np.unique(end, return_inverse=True)
        gain = weight[k, end] * problem.gains[k - 1, choice] / unit
        parts.append((gain, ranks[choice], first + tail, first + len(nodes) + head))
        first, nodes = first + len(nodes), after
        layers += [k] * len(after)
    gain, rank, tail, head = (np.concatenate(part) for part in zip(*parts, strict=True))
    depth, arcs = np.array(layers), np.arange(len(gain))
    entries = np.repeat([-1.0, 1.0], len(arcs))
    places = np.concatenate([tail, head]), np.concatenate([arcs, arcs])
    # One unit leaves the source, and a path may end from the least depth on.
    source = depth == 0
    least = np.where(source, -1.0, 0.0)
    most = np.where(source, -1.0, np.where(depth >= min_depth, np.inf, 0.0))
    return Flow(
        gain=gain,
        rank=rank,
        tail=tail,
        head=head,
        incidence=csc_array((entries, places), shape=(len(depth), len(arcs))),
        least=least,
        most=most,
    )


def solve(flow: Flow, time_limit_s: float) -> tuple[bool, Floats | None]:
    """Solve with a gap of 0: whether the optimum is proven, and what flows on every arc."""
    found = milp(
        -flow.gain,
        constraints=LinearConstraint(flow.incidence, flow.least, flow.most),
        bounds=Bounds(0, 1),
        options={"time_limit": time_limit_s, "mip_rel_gap": 0.0},
    )
    proven = found.status == 0
    return proven, np.asarray(found.x) if proven else None


def read(problem: Problem, flow: Flow, values: Floats) -> Allocation:
    """Ranks along the widest arcs, which lie on a path of the largest gain."""
    ranks, node = np.zeros(problem.layers, dtype=np.int64), 0
    for layer in range(problem.layers):
        leaving = np.flatnonzero(flow.tail == node)
        if not len(leaving):
            break
        widest = leaving[values[leaving].argmax()]
        if values[widest] < 1 / 2 and layer >= problem.question.min_depth:
            break
        ranks[layer], node = flow.rank[widest], int(flow.head[widest])
    return shared(problem, ranks)
