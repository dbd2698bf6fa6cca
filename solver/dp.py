"""Exact shared ranks by dynamic programming over (layer from the output, prefix sum).

With W_k(S) the weight of the devices that can train depth k at prefix sum S
(`solver.capacity`) and gain[k, r] the marginal gain of layer k at rank r,

    V_k(S) = max_r  V_{k-1}(S - s_k r) + W_k(S) gain[k, r],     V_0(0) = 0,

and the optimum is the largest V_k(S) over all k and S (design section 4). The devices enter
through W alone, so the cost after one pass over them, O(L R S), does not depend on N.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solver.capacity import Capacity
from solver.devices import Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedRanks:
    """Optimal shared ranks.

    Parameters
    ----------
    value : float
        Utility, exact for the capacities given.
    ranks : array of int, shape (L,)
        Rank by layer from the output; 0 where no device adapts the layer.
    """

    value: float
    ranks: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The recursion, filled.

    Parameters
    ----------
    values : list of arrays, shape (S + 1, B + 1)
        V_k by prefix sum and rank sum, for k = 0 up to the last depth anybody reaches; the
        second axis has length 1 where the rank sum needs no watching.
    choice : array of int, shape (L, S + 1, B + 1)
        Rank taken at layer k - 1.
    steps : array of int, shape (L,)
        Layer sizes in units of the prefix sum.
    """

    values: list[Floats]
    choice: npt.NDArray[np.int16]
    steps: Ints

    def backtrack(self, depth: int, prefix: int, rank_sum: int = 0) -> Ints:
        """Ranks that lead to V_depth(prefix, rank_sum), shape (L,), from the output."""
        ranks = np.zeros(len(self.steps), dtype=np.int64)
        for k in range(depth - 1, -1, -1):
            ranks[k] = rank = int(self.choice[k, prefix, rank_sum])
            prefix -= int(self.steps[k]) * rank
            rank_sum -= rank if self.choice.shape[2] > 1 else 0
        return ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What adapting layer k at prefix sum S and rank r earns beside the gain.

    ``fixed[k - 1, S] + r * per_rank[k - 1, S]``, both of shape (L, S + 1): a Lagrangian price
    on a quantity that adds up over devices and layers.
    """

    fixed: Floats
    per_rank: Floats


def shared_ranks(
    capacity: Capacity,
    gains: Floats,
    choices: Ints,
    *,
    min_depth: int,
    rank_budget: int | None,
    prices: Prices | None = None,
    earned: Sequence[Floats] | None = None,
) -> SharedRanks | None:
    """Find the ranks of largest utility, or None where `min_depth` is out of reach.

    Parameters
    ----------
    capacity : Capacity
    gains : array, shape (L, R)
    choices : array of int, shape (R,), ascending
    min_depth : int
        Every device must reach it.
    rank_budget : int or None
        Largest sum of the ranks.
    prices : Prices, optional
        Added to the value.
    earned : sequence of arrays, shape (R, S + 1), optional
        What each layer earns by rank and prefix sum, in place of weight times gain.

    Notes
    -----
    Ties go to the smaller rank, then the smaller depth and prefix sum, so the answer is
    unique.
    """
    table = tables(
        capacity,
        gains,
        choices,
        min_depth=min_depth,
        rank_budget=rank_budget,
        prices=prices,
        earned=earned,
    )
    peaks = [float(values.max()) for values in table.values]
    if len(peaks) <= min_depth or np.isneginf(peaks[min_depth]):
        return None
    depth = min_depth + int(np.argmax(peaks[min_depth:]))
    values = table.values[depth]
    prefix, rank_sum = np.unravel_index(int(np.argmax(values)), values.shape)
    ranks = table.backtrack(depth, int(prefix), int(rank_sum))
    return SharedRanks(value=peaks[depth], ranks=ranks)


def tables(
    capacity: Capacity,
    gains: Floats,
    choices: Ints,
    *,
    min_depth: int = 0,
    rank_budget: int | None = None,
    prices: Prices | None = None,
    earned: Sequence[Floats] | None = None,
) -> Tables:
    """Fill V_k for every depth; see `shared_ranks` for the parameters."""
    steps, top = capacity.steps, capacity.reach.shape[1] - 1
    sums = 0
    # A budget that no ranks can pass needs no watching.
    if rank_budget is not None and rank_budget < len(steps) * int(choices[-1]):
        top = min(top, rank_budget * int(steps.max()))
        # With equal sizes the prefix sum is the rank sum: no second axis is needed.
        sums = 0 if steps.min() == steps.max() else rank_budget
    values = np.full((top + 1, sums + 1), -np.inf)
    values[0, 0] = 0.0
    filled = [values]
    choice = np.zeros((len(steps), top + 1, sums + 1), dtype=np.int16)
    for k, step in enumerate(steps.tolist(), start=1):
        weight = capacity.reach[k, : top + 1].copy()
        if k <= min_depth:
            weight[capacity.least[k] + 1 :] = 0.0
        reward = weight * gains[k - 1][:, None] if earned is None else earned[k - 1]
        if prices is not None:
            reward += prices.fixed[k - 1, : top + 1]
            reward += choices[:, None] * prices.per_rank[k - 1, : top + 1]
        values = _extend(values, weight > 0, step, reward[:, : top + 1], choices, choice[k - 1])
        if np.isneginf(values).all():
            break
        filled.append(values)
    return Tables(values=filled, choice=choice, steps=steps)


def _extend(
    value: Floats,
    live: npt.NDArray[np.bool_],
    step: int,
    earned: Floats,
    choices: Ints,
    choice: npt.NDArray[np.int16],
) -> Floats:
    """One layer of the recursion; fills `choice`, shape (S + 1, B + 1), with the ranks taken.

    A prefix sum that no device carries (weight 0) ends there: nothing is gained beyond it.
    """
    following = np.full_like(value, -np.inf)
    for rank, at_rank in zip(choices.tolist(), earned, strict=True):
        shift, spent = step * rank, rank if value.shape[1] > 1 else 0
        if shift >= len(value) or spent >= value.shape[1]:
            break
        earlier = value[: len(value) - shift, : value.shape[1] - spent]
        candidate = earlier + at_rank[shift:, None]
        target = following[shift:, spent:]
        better = candidate > target
        better &= live[shift:, None]
        np.copyto(target, candidate, where=better)
        np.copyto(choice[shift:, spent:], rank, where=better)
    return following
