"""What stops a device from one layer more, and what a configuration lacks."""

import numpy as np

from solver.allocation import Allocation, cost
from solver.capacity import TOLERANCE
from solver.devices import Ints
from solver.errors import Shortfall
from solver.problem import Problem

ALL_LAYERS = "all layers"
MEAN_WAIT = "mean wait"
NO_GAIN = "no gain deeper"


def binding(problem: Problem, allocation: Allocation) -> list[str]:
    """Name the constraint that stops each device from one layer more, length N.

    Where the plan gives the next layer no rank, the smallest rank choice is tried.
    """
    costs, layers = problem.costs, problem.layers
    following = np.minimum(allocation.depth + 1, layers)
    rows = np.where(allocation.rows > 0, allocation.rows, problem.ranks[0])
    worst = np.zeros(len(following))
    names = np.full(len(following), _otherwise(problem), dtype=object)
    for q in costs.resources:
        excess = cost(costs, q, rows, allocation.row, following) / q.limit - 1
        over = excess > np.maximum(worst, TOLERANCE)
        names[over], worst[over] = q.name, excess[over]
    names[allocation.depth == layers] = ALL_LAYERS
    return [str(name) for name in names]


def _otherwise(problem: Problem) -> str:
    """What must have stopped a device that no limit of its own stops."""
    if problem.question.budgets.mean_wait_s is not None:
        return MEAN_WAIT
    # These objectives set a round time of their own.
    timed = problem.question.objective in ("time", "efficiency")
    return problem.costs.seconds.name if timed else NO_GAIN


def shortfalls(problem: Problem, ranks: Ints, depth: int) -> list[Shortfall]:
    """Every device and constraint that fails at a configuration, worst first."""
    costs = problem.costs
    row = np.zeros(len(costs.devices), dtype=np.int64)
    at = np.full(len(row), depth)
    found: dict[tuple[int, str], Shortfall] = {}
    for q in costs.resources:
        need = cost(costs, q, ranks[None, :], row, at)
        for i in np.flatnonzero(need > q.limit * (1 + TOLERANCE)).tolist():
            short = Shortfall(
                device=costs.devices.names[i],
                constraint=q.name,
                unit=q.unit,
                need=float(need[i]),
                limit=float(q.limit[i]),
            )
            # The phases of the memory are one constraint to a person: the largest counts.
            known = found.setdefault((i, q.name), short)
            if short.need > known.need:
                found[i, q.name] = short
    return sorted(found.values(), key=lambda s: (-s.need / max(s.limit, 1e-300), s.device))
