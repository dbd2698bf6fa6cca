"""The recursion for one device alone: with weight 1 and without limits, one table for all.

V_k(S) of it is the most that any device gains from its last k layers at prefix sum S.
"""

from typing import NamedTuple

import numpy as np

from solver.costs.capacity import Capacity, grid
from solver.costs.devices import Floats, Ints
from solver.dp.tables import tables
from solver.dp.values import Tables


class Alone(NamedTuple):
    """LoRA parameters in one unit, layer sizes in units, shape (L,), and the table."""

    unit: int
    steps: Ints
    table: Tables


def alone(sizes: Ints, gains: Floats, choices: Ints, *, optimistic: bool) -> Alone:
    """Fill the table.

    Parameters
    ----------
    sizes : array of int, shape (L,)
        LoRA parameters of a rank, by layer from the output.
    gains : array, shape (L, R)
    choices : array of int, shape (R,)
        Ranks, ascending.
    optimistic : bool
        Whether sizes that are rounded to the unit are rounded down.
    """
    unit, steps = grid(sizes, int(choices[-1]), optimistic=optimistic)
    top = int(steps.sum()) * int(choices[-1])
    everyone = Capacity(
        unit=unit,
        steps=steps,
        reach=np.ones((len(steps) + 1, top + 1)),
        least=np.full(len(steps) + 1, top),
    )
    return Alone(unit, steps, tables(everyone, gains, choices))
