"""The recursion of `solver.dp.tables` from its far end: what the layers beyond can still add.

Value and completion of a node together bound every path through it, so that nodes which no
better plan passes can be left out.
"""

import numpy as np

from solver.costs.devices import Floats, Ints
from solver.dp.tables import earnings, ranks_between
from solver.dp.values import Tables


def completions(table: Tables, min_depth: int) -> Floats:
    """Most that the layers beyond each node can add, in the layout of ``table.flat``.

    Minus infinity where no path ends at `min_depth` or beyond, or none leads through.
    """
    back = np.full_like(table.flat, -np.inf)
    axes, ranks = table.axes, table.choices.tolist()
    leads = (table.strides[:, 0] // table.choices[0]).tolist()
    for k in range(len(table.stretches) - 1, -1, -1):
        low, high = table.stretches[k]
        first, last = (axes.room + low) * axes.width, (axes.room + high + 1) * axes.width
        here = back[k, first:last]
        if k >= min_depth:
            np.maximum(here, 0.0, out=here)
        np.copyto(here, -np.inf, where=table.flat[k, first:last] == -np.inf)
        if k == 0:
            break
        below_low, below_high = table.stretches[k - 1]
        rows = ranks_between(
            ranks, leads[k - 1] // axes.width, low - below_high, high - below_low
        )
        strides = table.strides[k - 1, rows]
        if not len(strides):
            break
        to = (axes.room + below_low) * axes.width
        end = (axes.room + below_high + 1) * axes.width
        # Room on both sides, so that each row can be shifted by its rank.
        left = max(first - to - int(strides[0]), 0)
        right = max(end + int(strides[-1]) - last, 0)
        reward = np.empty((len(strides), left + last - first + right))
        reward[:, :left] = reward[:, left + last - first :] = -np.inf
        inner = reward[:, left : left + last - first]
        earnings(table, k, rows, low, high + 1, inner)
        inner += here
        apart = None if table.spacing is None else table.spacing * leads[k - 1]
        offset = to + int(strides[0]) - first + left
        _most_ahead(reward, strides, apart, offset, back[k - 1, to:end])
    return back


def _most_ahead(
    reward: Floats, strides: Ints, apart: int | None, offset: int, out: Floats
) -> None:
    """For each node the largest of what its ranks lead to, a row a rank.

    Parameters
    ----------
    reward : array, shape (R, F)
    strides : array of int, shape (R,)
        How far the ranks lead.
    apart : int or None
        How far one leads beyond the one before, where they are evenly spaced.
    offset : int
        Where in the first row the first node's rank leads to.
    out : array, shape (N,)
        Is raised to it; minus infinity to begin with.
    """
    if apart is not None:
        # Evenly spaced ranks are a view: each row is the one above, shifted.
        shifted = np.ndarray(
            (len(strides), len(out)),
            reward.dtype,
            reward,
            offset * reward.itemsize,
            (reward.strides[0] + apart * reward.itemsize, reward.itemsize),
        )
        np.maximum.reduce(shifted, axis=0, out=out)
        return
    for shift, row in zip((strides - strides[0]).tolist(), reward, strict=True):
        np.maximum(out, row[offset + shift : offset + shift + len(out)], out=out)
