"""Branch and bound on rank boxes, for costs out of proportion to the layers' sizes.

Let device i pay ``g_ij r_j`` for rank r_j of layer j. For any price rho of a LoRA parameter,
and ranks in a box ``lo_j <= r_j <= hi_j``,

    sum_j g_ij r_j  >=  rho S_k + sum_j (g_ij - rho s_j)^+ lo_j - (g_ij - rho s_j)^- hi_j,

with S_k the prefix sum: the dual of a fractional knapsack, and tight where the box is small.
Every price thus bounds the prefix sum that device i can carry at depth k; the smallest bound
over the layers' own prices is its capacity, and the dynamic program of `solver.dp` on these
capacities and the box's ranks bounds every plan in the box. Boxes are split best bound first,
and lose the outer ranks through which no plan is good enough (`solver.slopes.levels`).
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from solver.allocation import shared, utility
from solver.costs.build import Costs, Resource
from solver.costs.capacity import Capacity, grid
from solver.costs.devices import Floats, Ints
from solver.costs.resource import TOLERANCE
from solver.deadline import expired
from solver.dp.shared import SharedRanks
from solver.problem import Problem
from solver.shapes import shaped_ranks
from solver.slopes.levels import Levels, levels, small_enough
from solver.slopes.local_search import improve

# Gap that is good enough after so many boxes; until then it is closed to rounding.
GAP, CLOSED, CLOSING = 1e-3, 1e-9, 200
# Kicks of the local search, a good start is enough, and their work in cells of a look at all
# ranks of a layer: with many devices boxes gain more in the same time.
KICKS, KICK_WORK = 10, 4e7
# Boxes bounded in one search, by work and not by the clock: the plan is the same everywhere.
WORK = 4e9
MOST_BOXES = 1500
# Gain of a rank outside the box: finite, as a weight of 0 times infinity is no number.
FORBIDDEN = -1e18


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Ranks allowed, as indices of the rank choices: ``low[j] <= m <= high[j]``, shape (L,)."""

    low: Ints
    high: Ints


def branch(problem: Problem, start: Ints, upper: float) -> tuple[Ints, float]:
    """Improve shared ranks and their bound.

    Parameters
    ----------
    problem : Problem
        Shared ranks, without a mean wait.
    start : array of int, shape (L,)
        Feasible ranks, from the output.
    upper : float
        A bound to start from.

    Returns
    -------
    tuple of (array of int, shape (L,); float)
        Best ranks found and a bound on the utility of all.
    """
    kicks = _kicks(problem)
    best = improve(problem, start, kicks=kicks)
    value = _utility(problem, best)
    layers, choices = problem.layers, problem.ranks
    whole = Box(
        low=np.zeros(layers, dtype=np.int64),
        high=np.full(layers, len(choices) - 1, dtype=np.int64),
    )
    order = count()
    queue = [(-upper, next(order), whole)]
    settled = 0.0
    for number in range(_boxes(problem)):
        enough = 1 + (CLOSED if number < CLOSING else GAP)
        if not queue or -queue[0][0] <= value * enough or expired():
            break
        bound, _, box = heapq.heappop(queue)
        found = _bound(problem, box)
        if found is None:
            continue
        tighter = min(-bound, found.value)
        if _utility(problem, found.ranks) > value:
            best = improve(problem, found.ranks, kicks=kicks)
            value = _utility(problem, best)
        box, forgotten = narrowed(box, found, value * enough)
        settled = max(settled, min(forgotten, tighter))
        parts = split(problem, box, found)
        if parts is None:
            settled = max(settled, tighter)
            continue
        for part in parts:
            heapq.heappush(queue, (-tighter, next(order), part))
    open_bound = -queue[0][0] if queue else 0.0
    return best, min(upper, max(open_bound, settled, value))


def _utility(problem: Problem, ranks: Ints) -> float:
    """Utility of shared ranks, or -1 where a device falls short of the least depth."""
    allocation = shared(problem, ranks)
    if (allocation.depth < problem.question.min_depth).any():
        return -1.0
    return utility(problem, allocation)


def _kicks(problem: Problem) -> int:
    return int(np.clip(KICK_WORK / _cells(problem), 0, KICKS))


def _boxes(problem: Problem) -> int:
    layers, ranks = problem.gains.shape
    program = layers * ranks * int(problem.ranks[-1]) * layers
    return int(np.clip(WORK / (_cells(problem) * 4 + program), 16, MOST_BOXES))


def _cells(problem: Problem) -> int:
    """Devices, depths, layers and resources: what a capacity or a look at a layer takes."""
    costs, layers = problem.costs, problem.layers
    return max(len(costs.devices) * layers * layers * len(costs.resources), 1)


def _bound(problem: Problem, box: Box) -> SharedRanks | Levels | None:
    """Best of the box by its optimistic capacities; None if the box holds no plan."""
    question, choices = problem.question, problem.ranks
    table = box_capacity(problem, box)
    least = question.min_depth
    if table.least[least] < 0:
        return None
    free = question.budgets.rank_budget is None and question.rank_shape == "free"
    if free and small_enough(table, choices):
        through = levels(table, problem.gains, choices, box.low, box.high, min_depth=least)
        return None if np.isneginf(through.value) else through
    allowed = (np.arange(len(choices)) >= box.low[:, None]) & (
        np.arange(len(choices)) <= box.high[:, None]
    )
    found = shaped_ranks(
        question.rank_shape,
        table,
        np.where(allowed, problem.gains, FORBIDDEN),
        choices,
        min_depth=question.min_depth,
        rank_budget=question.budgets.rank_budget,
    )
    return None if found is None or found.value < 0 else found


def narrowed(box: Box, found: SharedRanks | Levels, threshold: float) -> tuple[Box, float]:
    """The box without the outer ranks that no plan above the threshold takes.

    Also the best value among the plans that are forgotten so. A layer none of whose ranks is
    worth anything stays as it is.
    """
    if not isinstance(found, Levels):
        return box, 0.0
    through = found.through
    kept = through > threshold
    kept[~kept.any(axis=1)] = True
    choice = np.arange(kept.shape[1])
    low = np.maximum(box.low, kept.argmax(axis=1))
    high = np.minimum(box.high, kept.shape[1] - 1 - kept[:, ::-1].argmax(axis=1))
    outside = (choice < low[:, None]) | (choice > high[:, None])
    forgotten = float(np.where(outside, through, 0.0).max())
    return Box(low=low, high=high), max(forgotten, 0.0)


def box_capacity(problem: Problem, box: Box) -> Capacity:
    """Optimistic capacities of ranks within a box."""
    costs, top_rank = problem.costs, int(problem.ranks[-1])
    unit, steps = grid(costs.sizes, top_rank, optimistic=True)
    top = int(steps.sum()) * top_rank
    low, high = problem.ranks[box.low], problem.ranks[box.high]
    tables = [_duals(q, costs.sizes, low, high) for q in costs.resources]
    held, units = np.zeros((problem.layers + 1, top + 2)), list[Ints]()
    for where, block in costs.blocks():
        for k, room in enumerate(_rooms(block, tables, float(top) * unit)):
            each = np.floor(room / unit).clip(-1, top).astype(np.int64)
            held[k] += np.bincount(each + 1, weights=problem.weights[where], minlength=top + 2)
            units.append(each)
    reach = held[:, :0:-1].cumsum(axis=1)[:, ::-1]
    least = (held > 0).argmax(axis=1) - 1
    # All that there are, where they are in one block.
    known = np.stack(units) if len(units) == len(held) else None
    return Capacity(unit=unit, steps=steps, reach=reach, least=least, units=known)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Duals:
    """Fixed cost and what a cache saves of it (C, L + 1), rest by price (C, L + 1, L), prices.

    The prices are (C, L). What every rank costs alike has its own rest, of shape (L + 1, L),
    at one rank per size of a layer.
    """

    fixed: Floats
    saved: Floats
    rest: Floats
    price: Floats
    flat_rest: Floats


def _duals(q: Resource, sizes: Ints, low: Ints, high: Ints) -> _Duals:
    price, alike = q.per_rank / sizes, 1 / sizes
    fixed = _from_depth_on(q.by_depth)
    warm = fixed if q.spare is None else _from_depth_on(q.by_depth - q.spare)
    ones = np.ones((1, len(sizes)))
    return _Duals(
        fixed=fixed,
        saved=fixed - warm,
        rest=_rest(q.per_rank, price, sizes, low, high),
        price=price,
        flat_rest=_rest(ones, alike[None, :], sizes, low, high)[0],
    )


def _rest(per_rank: Floats, price: Floats, sizes: Ints, low: Ints, high: Ints) -> Floats:
    """Least cost beyond the price of the parameters, by class, depth and price."""
    # (C, layer j, price m)
    excess = per_rank[:, :, None] - price[:, None, :] * sizes[:, None]
    least = np.maximum(excess, 0) * low[:, None] + np.minimum(excess, 0) * high[:, None]
    rest = np.zeros((len(price), len(sizes) + 1, price.shape[1]))
    np.cumsum(least, axis=1, out=rest[:, 1:])
    return rest


def _from_depth_on(by_depth: Floats) -> Floats:
    return np.asarray(np.minimum.accumulate(by_depth[:, ::-1], axis=1)[:, ::-1])


def _rooms(costs: Costs, tables: list[_Duals], most: float) -> Iterator[Floats]:
    """Largest prefix sum of every device by depth, in LoRA parameters; below 0 if none."""
    c = costs.devices.class_index
    slopes = [_slopes(costs, q, dual) for q, dual in zip(costs.resources, tables, strict=True)]
    for k in range(len(costs.sizes) + 1):
        room = np.full(len(c), most)
        for q, dual, slope in zip(costs.resources, tables, slopes, strict=True):
            free = q.limit * (1 + TOLERANCE) - q.offset - q.scale * dual.fixed[c, k]
            if q.saving is not None:
                free += q.saving * dual.saved[c, k]
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                for m in range(max(k, 1)):
                    left = free - q.scale * dual.rest[c, k, m]
                    if q.flat is not None:
                        left -= q.flat * dual.flat_rest[k, m]
                    np.fmin(room, left / slope[m], out=room)
            room[free < 0] = -1.0
        yield room


def _slopes(costs: Costs, q: Resource, dual: _Duals) -> Floats:
    """Cost of a LoRA parameter at each price of every device, shape (L, N)."""
    slopes = q.scale * dual.price.T.take(costs.devices.class_index, axis=1) + q.wire
    return slopes if q.flat is None else slopes + q.flat / costs.sizes[:, None]


def split(problem: Problem, box: Box, found: SharedRanks | Levels) -> tuple[Box, Box] | None:
    """Halve the side whose rank costs are least certain; None if the box is one point."""
    width = box.high - box.low
    if not width.any():
        return None
    depth = max(int((found.ranks > 0).sum()), 1)
    layer = np.arange(problem.layers)
    # More devices train the layers near the output; those beyond the depth come last.
    score = width * np.where(layer < depth, spread(problem.costs) + 1e-3, 1e-9) / (1 + layer)
    side = int(np.argmax(score))
    middle = int(box.low[side] + box.high[side]) // 2
    below, above = box.high.copy(), box.low.copy()
    below[side], above[side] = middle, middle + 1
    return replace(box, high=below), replace(box, low=above)


def spread(costs: Costs) -> Floats:
    """How far a layer's price lies from its class's mean, relatively, at worst, shape (L,)."""
    spread = np.zeros(len(costs.sizes))
    for q in costs.resources:
        price = q.per_rank / costs.sizes
        mean = price.mean(axis=1, keepdims=True)
        apart = np.divide(np.abs(price - mean), mean, out=np.zeros_like(price), where=mean > 0)
        spread = np.maximum(spread, apart.max(axis=0))
    return spread
