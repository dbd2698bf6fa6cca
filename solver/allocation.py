"""Who trains what, and what that costs: the answer of a method, before it becomes a plan."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solver.costs.build import Costs, Resource
from solver.costs.devices import Floats, Ints
from solver.costs.resource import TOLERANCE, grow
from solver.problem import Problem

LEFT_OUT = -1
# Devices whose depths are all looked at, at once.
FEW = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """Ranks and depth of every device.

    Parameters
    ----------
    rows : array of int, shape (M, L)
        Distinct rank vectors by layer from the output (one, if ranks are shared).
    row : array of int, shape (N,)
        Rank vector of a device.
    depth : array of int, shape (N,)
        Layers it adapts; -1 if it is left out.
    """

    rows: Ints
    row: Ints
    depth: Ints

    @property
    def taking_part(self) -> npt.NDArray[np.bool_]:
        """Which devices train, shape (N,)."""
        return np.not_equal(self.depth, LEFT_OUT)


def shared(problem: Problem, ranks: Ints, depth: Ints | None = None) -> Allocation:
    """Give every device the shared ranks, as deep as its limits allow.

    Parameters
    ----------
    problem : Problem
    ranks : array of int, shape (L,)
    depth : array of int, shape (N,), optional
        How deep that is, where it is known.
    """
    row = np.zeros(len(problem.costs.devices), dtype=np.int64)
    rows = ranks[None, :]
    if depth is None:
        depth = deepest(problem.costs, rows, row)
    return Allocation(rows=rows, row=row, depth=depth)


def server_ranks(allocation: Allocation) -> Ints:
    """Largest rank of each layer on any device, from the output, shape (L,); 0 on none."""
    layer = np.arange(allocation.rows.shape[1])
    deepest = np.full(len(allocation.rows), 0)
    np.maximum.at(deepest, allocation.row, np.maximum(allocation.depth, 0))
    held: Ints = np.where(layer < deepest[:, None], allocation.rows, 0)
    return np.asarray(held.max(axis=0))


def cost(costs: Costs, q: Resource, rows: Ints, row: Ints, depth: Ints) -> Floats:
    """Cost of resource `q` for every device at its depth, shape (N,)."""
    slope = prefix_sums(q.per_rank[:, None, :] * rows[None, :, :])
    table, size = q.by_depth[:, None, :] + slope, prefix_sums(rows * costs.sizes)
    # One index into a flat table is several times faster than three.
    k, c = np.maximum(depth, 0), costs.devices.class_index
    at = row * size.shape[1] + k
    spent: Floats = q.scale * table.ravel().take(c * size.size + at)
    spent += q.offset
    spent += q.wire * size.ravel().take(at)
    if q.spare is not None and q.saving is not None:
        spent -= q.saving * q.spare.ravel().take(c * size.shape[1] + k)
    if q.flat is not None:
        spent += q.flat * prefix_sums(rows).ravel().take(at)
    return spent


def cost_by_depth(costs: Costs, q: Resource, rows: Ints, row: Ints) -> Floats:
    """Cost of resource `q` at every depth, shape (L + 1, N)."""
    slope = prefix_sums(q.per_rank[:, None, :] * rows[None, :, :])
    table = (q.by_depth[:, None, :] + slope).reshape(-1, slope.shape[2]).T
    c = costs.devices.class_index
    spent = q.scale * table.take(c * len(rows) + row, axis=1)
    spent += q.offset
    spent += q.wire * prefix_sums(rows * costs.sizes).T.take(row, axis=1)
    if q.spare is not None and q.saving is not None:
        spent -= q.saving * q.spare.T.take(c, axis=1)
    if q.flat is not None:
        spent += q.flat * prefix_sums(rows).T.take(row, axis=1)
    return spent


def deepest(costs: Costs, rows: Ints, row: Ints) -> Ints:
    """Largest depth at which every limit holds, shape (N,); -1 where none does.

    A layer of rank 0 cannot be adapted, so depth stops above the first of them.
    """
    depth = np.full(len(row), LEFT_OUT, dtype=np.int64)
    halve = len(row) > FEW and grow(costs.resources, 1)
    for where, block in costs.blocks():
        search = _bisect if halve and len(block.devices) > FEW else _scan
        depth[where] = search(block, rows, row[where])
    return depth


def fits_by_depth(costs: Costs, rows: Ints, row: Ints) -> npt.NDArray[np.bool_]:
    """Whether every limit of a device holds, at every depth, shape (L + 1, N)."""
    holds: npt.NDArray[np.bool_] = np.equal(prefix_sums(rows == 0), 0).T.take(row, axis=1)
    for q in costs.resources:
        holds &= cost_by_depth(costs, q, rows, row) <= q.limit * (1 + TOLERANCE)
    return holds


def _scan(costs: Costs, rows: Ints, row: Ints) -> Ints:
    """Look at every depth, for all devices at once."""
    holds = fits_by_depth(costs, rows, row)
    deepest_first = holds[::-1]
    return np.where(holds.any(axis=0), len(holds) - 1 - deepest_first.argmax(axis=0), LEFT_OUT)


def _bisect(costs: Costs, rows: Ints, row: Ints) -> Ints:
    """Halve the depths in question: what holds at one depth holds at 1 and up to it."""
    most = (prefix_sums(rows == 0) == 0).sum(axis=1)[row] - 1
    low: Ints = np.zeros_like(most)
    high = most
    for _ in range(int(most.max(initial=0)).bit_length()):
        middle = (low + high + 1) >> 1
        holds = low < high
        for q in costs.resources:
            holds &= cost(costs, q, rows, row, middle) <= q.limit * (1 + TOLERANCE)
        low, high = np.where(holds, middle, low), np.where(holds, high, middle - 1)
        np.maximum(low, high, out=high)
    low[(low == 0) & ~fits(costs, rows, row, 0)] = LEFT_OUT
    return low


def shallowest(problem: Problem, ranks: Ints, depths: Sequence[int]) -> Allocation:
    """Give every device the same ranks, as few layers as its limits allow.

    Parameters
    ----------
    problem : Problem
    ranks : array of int, shape (L,)
    depths : sequence of int
        Depths to try, ascending.
    """
    depth = np.full(len(problem.costs.devices), LEFT_OUT, dtype=np.int64)
    rows, row = ranks[None, :], np.zeros_like(depth)
    for k in depths:
        # Nearly always everybody stops at the first depth.
        if (depth == LEFT_OUT).any():
            depth[(depth == LEFT_OUT) & fits(problem.costs, rows, row, k)] = k
    return shared(problem, ranks, depth)


def fits(costs: Costs, rows: Ints, row: Ints, k: int) -> npt.NDArray[np.bool_]:
    """Whether every limit of a device holds at depth k, shape (N,)."""
    holds = (rows[:, :k] > 0).all(axis=1).take(row)
    sizes = np.dot(rows[:, :k], costs.sizes[:k]).astype(np.float64)
    size = sizes[0] if len(rows) == 1 else sizes.take(row)
    c = costs.devices.class_index
    at = c * len(rows) + row
    for q in costs.resources:
        table = q.by_depth[:, k, None] + np.dot(q.per_rank[:, :k], rows[:, :k].T)
        spent = q.scale * table.ravel().take(at) + q.offset + q.wire * size
        if q.spare is not None and q.saving is not None:
            spent -= q.saving * q.spare[:, k].take(c)
        if q.flat is not None:
            spent += q.flat * rows[:, :k].sum(axis=1)[row]
        holds &= spent <= q.limit * (1 + TOLERANCE)
    return holds


def utility(problem: Problem, allocation: Allocation) -> float:
    """Weighted gain, sum_i w_i sum_{l in last k_i} gain[l, r_l]; devices left out add 0."""
    table, depth = device_gains(problem, allocation.rows), np.maximum(allocation.depth, 0)
    return float(np.dot(problem.weights, table[allocation.row, depth]))


def device_gains(problem: Problem, rows: Ints) -> Floats:
    """Gain of a device by rank vector and depth, shape (M, L + 1)."""
    choices = problem.ranks
    index = np.minimum(choices.searchsorted(rows), len(choices) - 1)
    layer = np.arange(problem.layers)
    return prefix_sums(np.where(rows > 0, problem.gains[layer, index], 0.0))


def mean_wait_s(problem: Problem, allocation: Allocation) -> float:
    """Mean over the devices that take part of the round time minus their own."""
    costs, part = problem.costs, allocation.taking_part
    own_s = _seconds(costs, allocation)[part]
    if not part.any():
        return 0.0
    round_s = max(float(own_s.max()), float(busy_s(costs, allocation).max(initial=0.0)))
    return float(np.average(round_s - own_s, weights=costs.devices.count[part]))


def round_time_s(problem: Problem, allocation: Allocation) -> float:
    """Time of the slowest device that takes part, or of the busiest shared link."""
    own_s = _seconds(problem.costs, allocation)[allocation.taking_part]
    links_s = busy_s(problem.costs, allocation)
    return max(float(own_s.max(initial=0.0)), float(links_s.max(initial=0.0)))


def longest_round_s(problem: Problem) -> float:
    """Round time if everybody adapts all layers at the largest rank: no plan passes it."""
    return round_time_s(problem, everything(problem))


def everything(problem: Problem) -> Allocation:
    """All layers at the largest rank on every device, whether it carries them or not."""
    every = np.full(len(problem.costs.devices), problem.layers)
    return shared(problem, np.full(problem.layers, problem.ranks[-1]), every)


def busy_s(costs: Costs, allocation: Allocation) -> Floats:
    """How long every shared link is busy, shape (E,); E is 0 without links."""
    if costs.links is None:
        return np.zeros(0)
    size, part = parameters(costs, allocation), allocation.taking_part
    ranks = summed_ranks(allocation) if costs.links.flat else 0.0
    return costs.links.busy_s(size, part, ranks)


def parameters(costs: Costs, allocation: Allocation) -> Floats:
    """LoRA parameters that every device adapts, shape (N,)."""
    size = prefix_sums(allocation.rows * costs.sizes)
    return size[allocation.row, np.maximum(allocation.depth, 0)]


def summed_ranks(allocation: Allocation) -> Floats:
    """Ranks that every device adapts, summed over layers, shape (N,)."""
    return prefix_sums(allocation.rows)[allocation.row, np.maximum(allocation.depth, 0)]


def _seconds(costs: Costs, allocation: Allocation) -> Floats:
    return cost(costs, costs.seconds, allocation.rows, allocation.row, allocation.depth)


def prefix_sums(values: npt.NDArray[np.generic]) -> Floats:
    """Sums of the first k entries of the last axis, for k = 0..L."""
    sums = np.zeros((*values.shape[:-1], values.shape[-1] + 1))
    values.cumsum(axis=-1, dtype=np.float64, out=sums[..., 1:])
    return sums
