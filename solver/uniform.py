"""One rank on all layers of a device: what the peers' policies choose among.

Either all layers at the largest rank a device affords, or one rank for everybody and a depth
for each. Costs never fall with the rank, so the largest rank is bisected.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from solver.allocation import LEFT_OUT, Allocation, fits, prefix_sums, shared, utility
from solver.costs.devices import Ints
from solver.costs.resource import TOLERANCE, Costs
from solver.problem import Problem
from solver.wait.limit import keeps_wait

Flags = npt.NDArray[np.bool_]
# Takes which depths fit, shape (N, L + 1), and picks one a device, or -1 to leave it out.
PickDepths = Callable[[Flags], Ints]


def largest_ranks(problem: Problem) -> Allocation:
    """All layers, each device at the largest rank it affords; those that afford none stay out.

    A rank budget is kept by every device's own sum of ranks.
    """
    costs, choices = problem.costs, within_budget(problem, problem.layers)
    rows = np.repeat(choices[:, None], problem.layers, axis=1)
    best = bisect_rows(
        len(costs.devices), len(rows), lambda row: fits(costs, rows, row, problem.layers)
    )
    if not len(rows):
        rows = np.full((1, problem.layers), problem.ranks[0])
    depth = np.where(best == LEFT_OUT, LEFT_OUT, problem.layers)
    return Allocation(rows=rows, row=best.clip(0), depth=depth)


def within_budget(problem: Problem, depth: int) -> Ints:
    """Rank choices of which `depth` layers keep the rank budget, ascending."""
    budget = problem.question.budgets.rank_budget
    return problem.ranks if budget is None else problem.ranks[problem.ranks * depth <= budget]


def bisect_rows(
    shape: int | tuple[int, int], rows: int, holds: Callable[[Ints], Flags]
) -> Ints:
    """Last of `rows` rising rows that holds in each place, -1 where none does."""
    low, high = np.full(shape, LEFT_OUT), np.full(shape, rows)
    while (high - low > 1).any():
        middle = (low + high) // 2
        ok = holds(middle.clip(0)) & (middle >= 0)
        low, high = np.where(ok, middle, low), np.where(ok, high, middle)
    return low


def largest_that_fit(costs: Costs, rows: Ints, depths: Ints) -> Ints:
    """Largest of rising rows that fits each device at each depth, shape (K, N).

    Parameters
    ----------
    costs : Costs
    rows : array of int, shape (M, L)
        By layer from the output.
    depths : array of int, shape (K,)

    Returns
    -------
    array of int, shape (K, N)
        -1 where none does.
    """
    found = np.empty((len(depths), len(costs.devices)), dtype=np.int64)
    for where, block in costs.blocks():
        found[:, where] = _largest_that_fit(block, rows, depths)
    return found


def _largest_that_fit(costs: Costs, rows: Ints, depths: Ints) -> Ints:
    """As `largest_that_fit`, all devices and depths at once."""
    c, k = costs.devices.class_index, depths[:, None]
    size, whole = prefix_sums(rows * costs.sizes), (prefix_sums(rows == 0) == 0).ravel()
    bare = [q.limit * (1 + TOLERANCE) - q.offset - q.fixed(c, k) for q in costs.resources]
    used = [prefix_sums(q.per_rank[:, None, :] * rows).ravel() for q in costs.resources]
    ranks = prefix_sums(rows).ravel()

    def holds(row: Ints) -> Flags:
        at = row * size.shape[1] + k
        fit: Flags = whole.take(at)
        for q, room, slopes in zip(costs.resources, bare, used, strict=True):
            spent = q.scale * slopes.take(c * size.size + at) + q.wire * size.ravel().take(at)
            if q.flat is not None:
                spent += q.flat * ranks.take(at)
            fit &= spent <= room
        return fit

    return bisect_rows((len(depths), len(c)), len(rows), holds)


def depths_that_fit(problem: Problem, ranks: Ints) -> Flags:
    """Whether every limit of a device holds at each depth from the least on, (N, L + 1)."""
    costs = problem.costs
    row = np.zeros(len(costs.devices), dtype=np.int64)
    found = np.zeros((len(row), problem.layers + 1), dtype=np.bool_)
    for k in range(problem.question.min_depth, problem.layers + 1):
        found[:, k] = fits(costs, ranks[None, :], row, k)
    return found


def uniform(problem: Problem, pick: PickDepths) -> Iterator[Allocation]:
    """Allocations by rising rank: one rank for everybody, depths by `pick`.

    Layers that a rank budget does not reach stay bare.
    """
    budget, layer = problem.question.budgets.rank_budget, np.arange(problem.layers)
    for rank in problem.ranks.tolist():
        reached = problem.layers if budget is None else budget // rank
        ranks = np.where(layer < reached, rank, 0)
        yield shared(problem, ranks, pick(depths_that_fit(problem, ranks)))


def best_kept(problem: Problem, candidates: Iterator[Allocation]) -> Allocation | None:
    """Candidate of largest utility in which somebody trains and the mean wait is kept."""
    kept = (a for a in candidates if a.taking_part.any() and keeps_wait(problem, a))
    return max(kept, key=lambda a: utility(problem, a), default=None)


def deepest_that_fits(usable: Flags) -> Ints:
    """Largest depth that fits each device; -1 where none does."""
    deepest = usable.shape[1] - 1 - usable[:, ::-1].argmax(axis=1)
    return np.where(usable.any(axis=1), deepest, LEFT_OUT)
