"""Exact shared ranks: the best end of the dynamic program of `solver.dp.tables`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from solver.costs.capacity import Capacity
from solver.costs.devices import Floats, Ints
from solver.dp.small import is_small, small_ranks
from solver.dp.tables import tables
from solver.dp.values import Prices


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
        What each layer earns by rank and prefix sum, in place of weight times gain and prices.

    Notes
    -----
    Ties go to the smaller rank, then the smaller depth and prefix sum, so the answer is
    unique.
    """
    plain = rank_budget is None and prices is None and earned is None
    if plain and is_small(capacity, choices):
        found = small_ranks(capacity, gains, choices, min_depth=min_depth)
        return None if found is None else SharedRanks(value=found[0], ranks=found[1])
    table = tables(
        capacity,
        gains,
        choices,
        min_depth=min_depth,
        rank_budget=rank_budget,
        prices=prices,
        earned=earned,
    )
    # The first largest: the smallest depth, then prefix sum, then rank sum.
    values = table.flat[min_depth:]
    if not values.size:
        return None
    depth, at = divmod(int(values.argmax()), values.shape[1])
    if values[depth, at] == -np.inf:
        return None
    ranks = table.path(min_depth + depth, at)
    return SharedRanks(value=float(values[depth, at]), ranks=ranks)
