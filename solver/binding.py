"""What stops a device from one layer more, and what a configuration lacks."""

import numpy as np
import numpy.typing as npt

from solver.allocation import Allocation, busy_s, cost, parameters
from solver.capacity import TOLERANCE
from solver.devices import Floats, Ints
from solver.errors import Shortfall
from solver.links import NO_LINK
from solver.problem import Problem

ALL_LAYERS = "all layers"
MEAN_WAIT = "mean wait"
RANK_BUDGET = "rank budget"
NO_GAIN = "no gain deeper"


def binding(problem: Problem, allocation: Allocation) -> list[str]:
    """Name the constraint that stops each device from one layer more, length N.

    Where the plan gives the next layer no rank, the smallest rank choice is tried. A device
    that is left out is asked for all layers, as the policies that leave devices out do.
    """
    costs, layers = problem.costs, problem.layers
    following = np.minimum(allocation.depth + 1, layers)
    following[~allocation.taking_part] = layers
    rows = np.where(allocation.rows > 0, allocation.rows, problem.ranks[0])
    worst = np.zeros(len(following))
    names = np.full(len(following), _otherwise(problem, allocation), dtype=object)
    for q in costs.resources:
        excess = _excess(cost(costs, q, rows, allocation.row, following), q.limit)
        over = excess > np.maximum(worst, TOLERANCE)
        names[over], worst[over] = q.name, excess[over]
    _name_links(problem, allocation, rows, following, names, worst)
    names[allocation.depth == layers] = ALL_LAYERS
    return [str(name) for name in names]


def _name_links(
    problem: Problem,
    allocation: Allocation,
    rows: Ints,
    following: Ints,
    names: npt.NDArray[np.object_],
    worst: Floats,
) -> None:
    """Name the shared link that one layer more on a device would overload."""
    costs, links = problem.costs, problem.costs.links
    limit_s = problem.question.budgets.round_time_s
    if links is None or limit_s is None:
        return
    left_s = limit_s * (1 + TOLERANCE) - busy_s(costs, allocation)
    more = parameters(costs, Allocation(rows=rows, row=allocation.row, depth=following))
    more -= np.where(allocation.taking_part, parameters(costs, allocation), 0.0)
    for i in np.flatnonzero((links.own != NO_LINK) & (worst <= 0) & allocation.taking_part):
        added_s = links.count[i] * more[i] * links.s_per_parameter
        over = np.flatnonzero(links.above[links.own[i]] & (added_s > left_s))
        if len(over):
            tightest = over[np.argmax((added_s - left_s)[over])]
            names[i] = f"link {links.names[tightest]}"


def _excess(need: Floats, limit: Floats) -> Floats:
    """By what share a need passes its limit; infinite where the limit is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(need > limit, need / limit - 1, 0.0)


def _otherwise(problem: Problem, allocation: Allocation) -> str:
    """What stops a device that its own limits do not."""
    budgets = problem.question.budgets
    if budgets.mean_wait_s is not None:
        return MEAN_WAIT
    spent = int(allocation.rows[0].sum()) + int(problem.ranks[0])
    if budgets.rank_budget is not None and spent > budgets.rank_budget:
        return RANK_BUDGET
    # These objectives set a round time of their own.
    timed = problem.question.objective in ("time", "efficiency")
    return problem.costs.seconds.name if timed else NO_GAIN


def shortfalls(
    problem: Problem, ranks: Ints, depth: int, devices: npt.NDArray[np.bool_]
) -> list[Shortfall]:
    """Every constraint that these devices fail at a configuration, worst first."""
    costs = problem.costs
    row = np.zeros(len(costs.devices), dtype=np.int64)
    at = np.full(len(row), depth)
    found = []
    for q in costs.resources:
        need = cost(costs, q, ranks[None, :], row, at)
        found += [
            Shortfall(
                device=costs.devices.names[i],
                constraint=q.name,
                unit=q.unit,
                need=float(need[i]),
                limit=float(q.limit[i]),
            )
            for i in np.flatnonzero(devices & (need > q.limit * (1 + TOLERANCE)))
        ]
    return sorted(_largest(found), key=lambda s: (-s.need / max(s.limit, 1e-300), s.device))


def _largest(found: list[Shortfall]) -> list[Shortfall]:
    """Of the phases of memory, only the one that needs most."""
    largest: dict[tuple[str, str], Shortfall] = {}
    for short in found:
        key = short.device, short.constraint
        if key not in largest or short.need > largest[key].need:
            largest[key] = short
    return list(largest.values())
