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


def values(
    capacity: Capacity,
    gains: Floats,
    choices: Ints,
    ranks: Ints,
    *,
    min_depth: int,
    rank_budget: int | None,
) -> Floats:
    """Utility of many shared rank sequences at once, shape (A,); -inf where infeasible.

    Parameters
    ----------
    capacity : Capacity
    gains : array, shape (L, R)
    choices : array of int, shape (R,)
    ranks : array of int, shape (A, L)
    min_depth, rank_budget
        As in `solver.dp.shared_ranks`.
    """
    layer = np.arange(ranks.shape[1])
    prefix = np.cumsum(ranks * capacity.steps, axis=1)
    reach = capacity.reach[layer + 1, prefix]
    value = (reach * gains[layer, np.searchsorted(choices, ranks)]).sum(axis=1)
    early = layer < min_depth
    feasible = (prefix <= capacity.least[1:])[:, early].all(axis=1) & (capacity.least[0] >= 0)
    if rank_budget is not None:
        feasible &= (ranks * (reach > 0)).sum(axis=1) <= rank_budget
    return np.where(feasible, value, -np.inf)
