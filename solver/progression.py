"""Arithmetic progressions: shared ranks that rise towards the output by a constant step.

LEGEND's ranks are likely of this kind (a hypothesis, see the policy). There are only as many
as pairs of a first rank and a step, so all of them are tried, at once.
"""

import numpy as np

from solver.capacity import Capacity
from solver.devices import Floats, Ints


def progressions(choices: Ints, layers: int) -> Ints:
    """Every rank sequence ``max(first - step * (j - 1), least)`` within the choices.

    Parameters
    ----------
    choices : array of int, shape (R,), ascending
    layers : int

    Returns
    -------
    array of int, shape (A, L)
        From the output, distinct, in a fixed order.
    """
    steps = np.arange(choices[-1] - choices[0] + 1)
    falls = steps[None, :, None] * np.arange(layers)
    every = np.maximum(choices[:, None, None] - falls, choices[0]).reshape(-1, layers)
    allowed = np.isin(every, choices).all(axis=1)
    return np.unique(every[allowed], axis=0)


def values(capacity: Capacity, gains: Floats, choices: Ints, ranks: Ints) -> Floats:
    """Utility of many shared rank sequences at once, shape (A,).

    Parameters
    ----------
    capacity : Capacity
        An optimistic one makes the values upper bounds.
    gains : array, shape (L, R)
    choices : array of int, shape (R,)
    ranks : array of int, shape (A, L)
        A layer of rank 0 is bare and gains nothing.
    """
    layer = np.arange(ranks.shape[1])
    prefix = np.cumsum(ranks * capacity.steps, axis=1)
    gain = np.where(ranks > 0, gains[layer, np.searchsorted(choices, ranks)], 0.0)
    return np.asarray((capacity.reach[layer + 1, prefix] * gain).sum(axis=1))
