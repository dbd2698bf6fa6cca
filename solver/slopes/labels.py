"""Knapsacks closed by label setting: layer by layer, as long as the prices leave hope.

A label is a choice of ranks for the first layers of one knapsack. With what its layers gained
and used so far, prices y of the resources bound whatever it may still become,

    gain + sum_q y_q (b_q - used_q) + sum over the layers ahead of max_r (gain[l, r] - price r),

so it is dropped once that is no better than ranks which are known. Where too many are left,
those that hope for most are kept, and the bound says what the others hoped for.
"""

from typing import NamedTuple

import numpy as np

from solver.costs.devices import Floats, Ints
from solver.slopes.knapsacks import Knapsacks

# Labels side by side.
ABREAST = 50_000


class Closed(NamedTuple):
    """Indices of the best ranks, shape (P, L), what they gain and a bound on it, (P,)."""

    choice: Ints
    gained: Floats
    bound: Floats


class _Labels(NamedTuple):
    """Labels of one layer: of which knapsack, gained, used (Q, M), before, and rank."""

    of: Ints
    gained: Floats
    used: Floats
    parent: Ints
    rank: Ints


def closed(knapsacks: Knapsacks, prices: Floats, aims: Floats, kept: int) -> Closed:
    """Look for ranks that gain more than is known.

    Parameters
    ----------
    knapsacks : Knapsacks
    prices : array, shape (Q, P)
        Such as bound them well.
    aims : array, shape (P,)
        Only what gains more is looked for; where there is nothing, this is the gain and, if
        no label was dropped for room, the bound.
    kept : int
        Labels that are kept of each knapsack.
    """
    number, abreast = len(aims), max(ABREAST // kept, 1)
    parts = [
        _closed(knapsacks[where], prices[:, where], aims[where], kept)
        for start in range(0, number, abreast)
        for where in [np.arange(start, min(start + abreast, number))]
    ]
    if not parts:
        return Closed(np.zeros(knapsacks.deep.shape, dtype=np.int64), aims, aims)
    return Closed(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _closed(knapsacks: Knapsacks, prices: Floats, aims: Floats, most: int) -> Closed:
    number, layers = knapsacks.deep.shape
    known, lost = aims.copy(), np.full(number, -np.inf)
    ranks, gains, deep = knapsacks.hulls.ranks, knapsacks.hulls.gains, knapsacks.deep
    price = np.einsum("qp,qpl->pl", prices, knapsacks.slope)
    net = np.where(deep[:, :, None], gains - price[:, :, None] * ranks, 0.0)
    # Of the layers from each on: their net gain at most, and what they use at least.
    ahead = _from_each_on(net.max(axis=2))
    least = np.stack([_from_each_on(slope * ranks[0]) for slope in knapsacks.slope])
    worth = (prices * knapsacks.room).sum(axis=0)
    every = np.arange(number)
    labels = _Labels(every, np.zeros(number), np.zeros(knapsacks.room.shape), every, every)
    history = []
    for layer in range(layers):
        # A knapsack whose depth ends before carries its labels on.
        allowed = np.where(deep[:, layer, None], True, np.arange(len(ranks)) == 0)
        label, rank = np.nonzero(allowed[labels.of])
        of, inside = labels.of[label], deep[labels.of[label], layer]
        gained = labels.gained[label] + np.where(inside, gains[layer, rank], 0.0)
        used = labels.used[:, label] + knapsacks.slope[:, of, layer] * ranks[rank]
        fits = (used + least[:, of, layer + 1] <= knapsacks.room[:, of]).all(axis=0)
        hope = gained + worth[of] - (prices[:, of] * used).sum(axis=0) + ahead[of, layer + 1]
        kept = np.flatnonzero(fits & (hope > known[of]))
        kept = kept[np.lexsort((-hope[kept], of[kept]))]
        first = np.searchsorted(of[kept], of[kept])
        over = np.arange(len(kept)) - first >= most
        np.maximum.at(lost, of[kept[over]], hope[kept[over]])
        kept = kept[~over]
        labels = _Labels(of[kept], gained[kept], used[:, kept], label[kept], rank[kept])
        history.append(labels)
    choice, last = np.zeros((number, layers), dtype=np.int64), history[-1]
    # Labels that only hoped for more, as they leave room, are no better than what is known.
    more = np.flatnonzero(last.gained > known[last.of])
    order = more[np.lexsort((last.gained[more], last.of[more]))]
    best = order[np.append(last.of[order][1:] != last.of[order][:-1], True)[: len(order)]]
    known[last.of[best]] = last.gained[best]
    at, of = best, last.of[best]
    for layer in range(layers - 1, -1, -1):
        choice[of, layer] = history[layer].rank[at]
        at = history[layer].parent[at]
    return Closed(choice, known, np.maximum(known, lost))


def _from_each_on(values: Floats) -> Floats:
    """Sums over the layers from each on, shape (P, L + 1)."""
    sums = np.cumsum(values[:, ::-1], axis=1)[:, ::-1]
    return np.concatenate([sums, np.zeros((len(values), 1))], axis=1)
