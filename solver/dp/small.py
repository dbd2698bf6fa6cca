"""The recursion of `solver.dp.tables` where all of it fits the cache: three calls a layer.

What every rank leads to is kept, by layer, rank and prefix sum, so that the way back needs no
second look, and no care is taken to leave out what cannot be reached: on tables this small
numpy takes longer to be called than to compute.
"""

import numpy as np

from solver.costs.capacity import Capacity
from solver.costs.devices import Floats, Ints

# Cells (layer, rank, prefix sum) of a small table: they stay in the second-level cache.
CELLS = 1 << 18


def is_small(capacity: Capacity, choices: Ints) -> bool:
    """Whether the table is small enough."""
    return capacity.reach.size * len(choices) <= CELLS


def small_ranks(
    capacity: Capacity, gains: Floats, choices: Ints, *, min_depth: int
) -> tuple[float, Ints] | None:
    """Find the ranks of largest utility; see `solver.dp.shared.shared_ranks`.

    Returns
    -------
    tuple of (float, array of int) or None
        Utility and ranks, shape (L,); None where `min_depth` is out of reach.
    """
    steps, ranks = capacity.steps.tolist(), choices.tolist()
    # Before the first prefix sum lies minus infinity, so that a step too far leads nowhere.
    room, sums = max(steps) * ranks[-1], capacity.reach.shape[1]
    values = np.full((len(steps) + 1, room + sums), -np.inf)
    values[0, room] = 0.0
    # Row r of a layer's window holds its values r places on: rows are copied, not gathered.
    shape, (row, place) = (len(values), room + 1, sums), values.strides
    windows = np.ndarray(shape, buffer=values, strides=(row, place, place))
    before = {step: room - step * choices for step in set(steps)}
    leads = np.multiply(gains[:, :, None], capacity.reach[1:, None, :])
    for k, least in enumerate(capacity.least[1 : min_depth + 1].tolist()):
        leads[k, :, least + 1 :] = -np.inf
    for step, lead, tail, head in zip(steps, leads, windows, values[1:, room:], strict=False):
        lead += tail[before[step]]
        np.maximum.reduce(lead, axis=0, out=head)
    ends = values[min_depth:]
    # The first largest: the smallest depth, then prefix sum.
    depth, at = divmod(int(ends.argmax()), room + sums)
    value = float(ends[depth, at])
    if value == -np.inf:
        return None
    found = [0] * len(steps)
    for k in range(min_depth + depth - 1, -1, -1):
        found[k] = rank = ranks[leads[k, :, at - room].argmax()]
        at -= steps[k] * rank
    return value, np.array(found, dtype=np.int64)
