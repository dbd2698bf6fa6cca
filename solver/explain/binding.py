"""What stops a device from one layer more, and what a configuration lacks."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from solver.allocation import (
    Allocation,
    busy_s,
    cost,
    mean_wait_s,
    parameters,
    round_time_s,
    server_ranks,
    summed_ranks,
)
from solver.costs.devices import Floats, Ints
from solver.costs.resource import TOLERANCE, Resource
from solver.errors import Shortfall
from solver.links.graph import NO_LINK
from solver.problem import Problem

Bools = npt.NDArray[np.bool_]

# What a plan may name beside resources and links; see docs/plan-format.md.
ALL_LAYERS = "all layers"
MEAN_WAIT = "mean wait"
RANK_BUDGET = "rank budget"
NO_GAIN = "no gain deeper"
NO_LIMIT = "no limit"
# Their round may take as long as it does, whatever the budget.
_TIMED = ("time", "efficiency")


def binding(problem: Problem, allocation: Allocation) -> list[str]:
    """Name the constraint that stops each device from one layer more, length N.

    The one that it would pass by the largest share; else the shared link that it would
    overload; else what all devices share: the rank budget, or the mean wait. Where nothing
    stops it, whether the layer would gain nothing. See `one_more` for what is asked.
    """
    costs = problem.costs
    asked = one_more(problem, allocation)
    worst = np.zeros(len(asked.depth))
    names = np.full(len(worst), NO_LIMIT, dtype=object)
    for q, limit in limits(problem, allocation):
        excess = _excess(cost(costs, q, asked.rows, asked.row, asked.depth), limit)
        over = excess > np.maximum(worst, TOLERANCE)
        names[over], worst[over] = q.name, excess[over]
    _name_links(problem, allocation, asked, names)
    _name_together(problem, allocation, asked, names)
    names[allocation.depth == problem.layers] = ALL_LAYERS
    return [str(name) for name in names]


def one_more(problem: Problem, allocation: Allocation) -> Allocation:
    """Every device with one layer more; one that is left out, with all of them.

    The layer has the server's rank, if ranks are capped no more than the largest that the
    device has, and the smallest rank choice where ranks are its own or the server has none:
    all of that can be read off a plan.
    """
    structure, layers = problem.question.structure, problem.layers
    layer, least = np.arange(layers), int(problem.ranks[0])
    server = server_ranks(allocation)
    depth = np.where(allocation.taking_part, np.minimum(allocation.depth + 1, layers), layers)
    if structure == "shared":
        rows, row = np.where(server > 0, server, least)[None, :], np.zeros_like(depth)
        return Allocation(rows=rows, row=row, depth=depth)
    width = layers + 2
    keys, row = np.unique(allocation.row * width + allocation.depth + 1, return_inverse=True)
    held = allocation.rows[keys // width] * (layer < (keys % width - 1)[:, None])
    cap = held.max(axis=1, keepdims=True) if structure == "capped" else 0
    rows = np.where(held > 0, held, np.maximum(np.minimum(server, cap), least))
    return Allocation(rows=rows, row=row.reshape(-1), depth=depth)


def limits(problem: Problem, allocation: Allocation) -> Iterator[tuple[Resource, Floats]]:
    """What every device may need of each resource, shape (N,)."""
    seconds = problem.costs.seconds
    for q in problem.costs.resources:
        if q.name != seconds.name:
            yield q, q.limit
    limit_s = longest_s(problem, allocation)
    if limit_s is not None:
        yield seconds, np.broadcast_to(np.float64(limit_s), seconds.limit.shape)


def longest_s(problem: Problem, allocation: Allocation) -> float | None:
    """How long a round may take; None if it does not matter."""
    if problem.question.objective in _TIMED:
        return round_time_s(problem, allocation)
    return problem.question.budgets.round_time_s


def _name_links(
    problem: Problem,
    allocation: Allocation,
    asked: Allocation,
    names: npt.NDArray[np.object_],
) -> None:
    """Name the shared link that one layer more on a device would overload."""
    links, limit_s = problem.costs.links, longest_s(problem, allocation)
    if links is None or limit_s is None:
        return
    left_s = limit_s * (1 + TOLERANCE) - busy_s(problem.costs, allocation)
    free = _free(names, allocation) & (links.own != NO_LINK)
    for i, added_s in _added_s(problem, allocation, asked, free):
        over = np.flatnonzero(added_s > left_s)
        if len(over):
            tightest = over[np.argmax((added_s - left_s)[over])]
            names[i] = f"link {links.names[tightest]}"


def _added_s(
    problem: Problem, allocation: Allocation, asked: Allocation, devices: Bools
) -> Iterator[tuple[int, Floats]]:
    """How much longer every link is busy with one layer more on a device, (E,), by device."""
    costs, links = problem.costs, problem.costs.links
    if links is None:
        return
    more = parameters(costs, asked) - parameters(costs, allocation)
    ranks = summed_ranks(asked) - summed_ranks(allocation)
    for i in np.flatnonzero(devices & (links.own != NO_LINK)).tolist():
        yield i, links.added_s(i, float(more[i]), float(ranks[i]))


def _free(names: npt.NDArray[np.object_], allocation: Allocation) -> Bools:
    """Devices that take part and that nothing is known to stop, shape (N,)."""
    return np.equal(names, NO_LIMIT) & allocation.taking_part


def _name_together(
    problem: Problem,
    allocation: Allocation,
    asked: Allocation,
    names: npt.NDArray[np.object_],
) -> None:
    """Name what stops a device that neither its own limits nor links do."""
    budgets, server = problem.question.budgets, server_ranks(allocation)
    following = np.minimum(allocation.depth.clip(0), problem.layers - 1)
    rank = asked.rows[asked.row, following]
    if budgets.rank_budget is not None:
        over = int(server.sum()) + rank > budgets.rank_budget
        names[_free(names, allocation) & (server[following] == 0) & over] = RANK_BUDGET
    if budgets.mean_wait_s is not None:
        free = _free(names, allocation)
        names[free & _waits_more(problem, allocation, asked, free)] = MEAN_WAIT
    gain = problem.gains[following, np.searchsorted(problem.ranks, rank)]
    names[_free(names, allocation) & (gain <= 0)] = NO_GAIN


def _waits_more(
    problem: Problem, allocation: Allocation, asked: Allocation, devices: Bools
) -> Bools:
    """Whether the others would wait too long for one layer more on a device, shape (N,).

    Before waits are filled, if they are.
    """
    costs, part = problem.costs, allocation.taking_part
    now_s, then_s = (
        cost(costs, costs.seconds, each.rows, each.row, each.depth)
        for each in (allocation, asked)
    )
    count = costs.devices.count
    round_s = np.maximum(then_s, round_time_s(problem, allocation))
    busy = busy_s(costs, allocation)
    for i, added_s in _added_s(problem, allocation, asked, devices):
        round_s[i] = max(round_s[i], float((busy + added_s).max()))
    total_s = float(np.dot(now_s[part], count[part])) + count * (then_s - now_s)
    wait_s = round_s - total_s / count[part].sum()
    limit_s = max(problem.question.budgets.mean_wait_s or 0.0, mean_wait_s(problem, allocation))
    return np.asarray(wait_s > limit_s + TOLERANCE * round_s)


def _excess(need: Floats, limit: Floats) -> Floats:
    """By what share a need passes its limit; infinite where the limit is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(need > limit, need / limit - 1, 0.0)


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
