"""Exact shared ranks that never fall towards the output: the last rank is part of the state.

Counted from the output ranks never rise, so layer k takes a rank r no larger than the one
before it. With W_k(S) as in `solver.dp`,

    V_k(S, r) = W_k(S) gain[k, r] + max over r' >= r of V_{k-1}(S - s_k r, r'),

and a running maximum over r' makes that O(L S R), as without the order. Where a budget on the
sum of the ranks needs an axis of its own (layers of unlike sizes), there is one more factor.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from profiler.schema import InputError
from solver.costs.capacity import Capacity
from solver.costs.devices import Floats, Ints
from solver.dp.shared import SharedRanks
from solver.dp.values import Prices

# Cells (layer, rank, prefix sum, rank sum) of the table of choices: half a GB.
MOST_CELLS = 1 << 28

Indices = npt.NDArray[np.int16]


def rising_ranks(
    capacity: Capacity,
    gains: Floats,
    choices: Ints,
    *,
    min_depth: int,
    rank_budget: int | None,
    prices: Prices | None = None,
    earned: Sequence[Floats] | None = None,
) -> SharedRanks | None:
    """Find the rising ranks of largest utility; see `solver.dp.shared.shared_ranks`.

    Raises
    ------
    InputError
        If the table would not fit in memory.
    """
    top, sums = _extent(capacity, choices, rank_budget)
    values, before = _first(top, sums, len(choices)), list[Indices]()
    best = _Best(min_depth)
    for k, step in enumerate(capacity.steps.tolist(), start=1):
        weight = capacity.reach[k, : top + 1].copy()
        if k <= min_depth:
            weight[capacity.least[k] + 1 :] = 0.0
        if earned is not None:
            reward = earned[k - 1][:, : top + 1]
        else:
            reward = weight * gains[k - 1][:, None]
            if prices is not None:
                _, per_rank, fixed = prices.price * prices.sums[k - 1, :, : top + 1]
                reward += fixed + choices[:, None] * per_rank
        most, chosen = _from_rank_on(values)
        values = _extend(most, weight > 0, step, reward, choices)
        before.append(chosen)
        if np.isneginf(values).all():
            break
        best.offer(k, values)
    if best.depth < min_depth:
        return None
    return SharedRanks(value=best.value, ranks=best.ranks(capacity.steps, choices, before))


def _extent(capacity: Capacity, choices: Ints, rank_budget: int | None) -> tuple[int, int]:
    """Largest prefix sum and, where it needs watching, largest rank sum."""
    steps, top, sums = capacity.steps, capacity.reach.shape[1] - 1, 0
    if rank_budget is not None and rank_budget < len(steps) * int(choices[-1]):
        top = min(top, rank_budget * int(steps.max()))
        sums = 0 if steps.min() == steps.max() else rank_budget
    cells = len(steps) * len(choices) * (top + 1) * (sums + 1)
    if cells > MOST_CELLS:
        raise InputError(
            f"rising ranks need a table of {cells:.2g} cells here and at most "
            f"{MOST_CELLS:.2g} are kept; give fewer --ranks, such as 4,8,16,32"
        )
    return top, sums


def _first(top: int, sums: int, ranks: int) -> Floats:
    """V_0: nothing taken yet, as if after the largest rank, shape (R, S + 1, B + 1)."""
    values = np.full((ranks, top + 1, sums + 1), -np.inf)
    values[-1, 0, 0] = 0.0
    return values


def _from_rank_on(values: Floats) -> tuple[Floats, Indices]:
    """Largest value at each rank or a larger one, and the least rank that has it."""
    most, chosen = values.copy(), np.empty(values.shape, dtype=np.int16)
    chosen[-1] = len(values) - 1
    for m in range(len(values) - 2, -1, -1):
        larger = most[m + 1] > most[m]
        np.copyto(most[m], most[m + 1], where=larger)
        chosen[m] = np.where(larger, chosen[m + 1], m)
    return most, chosen


def _extend(
    most: Floats, live: npt.NDArray[np.bool_], step: int, earned: Floats, choices: Ints
) -> Floats:
    """One layer of the recursion."""
    following = np.full_like(most, -np.inf)
    for m, rank in enumerate(choices.tolist()):
        shift, spent = step * rank, rank if most.shape[2] > 1 else 0
        if shift >= most.shape[1] or spent >= most.shape[2]:
            break
        earlier = most[m, : most.shape[1] - shift, : most.shape[2] - spent]
        candidate = earlier + earned[m, shift:, None]
        np.copyto(following[m, shift:, spent:], candidate, where=live[shift:, None])
    return following


class _Best:
    """Best end of a recursion so far; ties go to the smaller depth, then rank and prefix."""

    def __init__(self, min_depth: int) -> None:
        self.min_depth = min_depth
        self.depth, self.value = (0, 0.0) if min_depth == 0 else (-1, -np.inf)
        self.at = (0, 0, 0)

    def offer(self, depth: int, values: Floats) -> None:
        """Take the best end at a depth, if it is better and deep enough."""
        value = float(values.max())
        if depth >= self.min_depth and value > self.value:
            where = np.unravel_index(int(np.argmax(values)), values.shape)
            self.depth, self.value = depth, value
            self.at = (int(where[0]), int(where[1]), int(where[2]))

    def ranks(self, steps: Ints, choices: Ints, before: list[Indices]) -> Ints:
        """Ranks that lead there, shape (L,), from the output."""
        found = np.zeros(len(steps), dtype=np.int64)
        m, prefix, rank_sum = self.at
        for k in range(self.depth - 1, -1, -1):
            found[k] = rank = int(choices[m])
            prefix -= int(steps[k]) * rank
            rank_sum -= rank if before[k].shape[2] > 1 else 0
            m = int(before[k][m, prefix, rank_sum])
        return found
