"""The best plan through every rank of every layer: which of them a search may forget.

The dynamic program of `solver.dp` run forwards, V_k(S), and backwards, B_k(S), the most that
the layers from k + 1 on add to a prefix sum S. The best value of all plans that give layer k
rank r is then

    max over S of  V_{k-1}(S - s_k r) + W_k(S) gain[k, r] + B_k(S).

A budget on the rank sum and a shape of the ranks are not looked at, which only raises it.
"""

from dataclasses import dataclass

import numpy as np

from solver.capacity import Capacity
from solver.devices import Floats, Ints

# Prefix sums times ranks that one layer's table may have.
MOST_CELLS = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Best values and the best ranks.

    Parameters
    ----------
    value : float
        Of the best plan; minus infinity without one.
    ranks : array of int, shape (L,)
        Its ranks, from the output; 0 where nobody adapts the layer.
    through : array, shape (L, R)
        Best value of a plan with that rank; minus infinity where there is none.
    """

    value: float
    ranks: Ints
    through: Floats


def small_enough(table: Capacity, choices: Ints) -> bool:
    """Whether the tables fit."""
    return int(table.reach.shape[1]) * len(choices) <= MOST_CELLS


def levels(
    table: Capacity, gains: Floats, choices: Ints, low: Ints, high: Ints, *, min_depth: int
) -> Levels:
    """Solve forwards and backwards for ranks within a box.

    Parameters
    ----------
    table : Capacity
        For ranks within the box.
    gains : array, shape (L, R)
    choices : array of int, shape (R,)
    low, high : array of int, shape (L,)
        First and last index of the choices that a layer may have.
    min_depth : int
        Every device must reach it.
    """
    layers, tops = len(low), table.reach.shape[1]
    prefix = np.arange(tops)
    values = np.full((layers + 1, tops), -np.inf)
    values[0, 0] = 0.0
    earned: list[Floats] = []
    for k in range(1, layers + 1):
        ranks = choices[low[k - 1] : high[k - 1] + 1]
        weight = table.reach[k]
        if k <= min_depth:
            weight = np.where(prefix > table.least[k], 0.0, weight)
        shift = int(table.steps[k - 1]) * ranks
        before = np.concatenate([np.full(shift[-1], -np.inf), values[k - 1]])
        gain = gains[k - 1, low[k - 1] : high[k - 1] + 1]
        reached = before[prefix[:, None] + (shift[-1] - shift)] + weight[:, None] * gain
        # A prefix sum that no device carries ends there.
        reached[weight <= 0] = -np.inf
        values[k] = reached.max(axis=1)
        earned.append(reached)
    peaks = values.max(axis=1)
    depth = min_depth + int(np.argmax(peaks[min_depth:]))
    return Levels(
        value=float(peaks[depth]),
        ranks=_backtrack(table, earned, values, choices, low, depth),
        through=_through(table, earned, values, choices, low, min_depth),
    )


def _backtrack(
    table: Capacity, earned: list[Floats], values: Floats, choices: Ints, low: Ints, depth: int
) -> Ints:
    ranks = np.zeros(len(low), dtype=np.int64)
    if np.isneginf(values[depth]).all():
        return ranks
    prefix = int(np.argmax(values[depth]))
    for k in range(depth, 0, -1):
        ranks[k - 1] = choices[int(low[k - 1]) + int(np.argmax(earned[k - 1][prefix]))]
        prefix -= int(table.steps[k - 1] * ranks[k - 1])
    return ranks


def _through(
    table: Capacity,
    earned: list[Floats],
    values: Floats,
    choices: Ints,
    low: Ints,
    min_depth: int,
) -> Floats:
    layers, tops = len(low), values.shape[1]
    through = np.full((layers, len(choices)), -np.inf)
    prefix = np.arange(tops)
    after = np.zeros(tops)
    for k in range(layers, 0, -1):
        first, number = int(low[k - 1]), earned[k - 1].shape[1]
        ranks = choices[first : first + number]
        whole = earned[k - 1] + after[:, None]
        through[k - 1, first : first + number] = whole.max(axis=0)
        # What this layer and those after it add to the prefix sum before it.
        shift = int(table.steps[k - 1]) * ranks
        at = prefix[:, None] + shift
        inside = at < tops
        at = np.where(inside, at, 0)
        added = np.where(inside, whole[at, np.arange(number)], -np.inf)
        with np.errstate(invalid="ignore"):
            added -= values[k - 1][:, None]
        after = np.nan_to_num(added, nan=-np.inf, posinf=-np.inf).max(axis=1)
        if k - 1 >= min_depth:
            np.maximum(after, 0.0, out=after)
    return through
