"""Best ranks whose own times add up to enough: label setting between two dynamic programs.

A label is a path from the output to a node (depth, prefix sum): its utility G and own times
H. One with less of both than another at the same node is dropped, and so is one that cannot
beat the incumbent: with the priced program's completions B (`solver.dp_tables.completions`)
no path through it is worth more than

    G + price (H - needed) + B_k(S),    for its own times must reach `needed` in the end.

At the best price hardly any label is left. Should there be too many, the best are kept, and
the bound says what the others might have been.
"""

from dataclasses import dataclass

import numpy as np

from solver.devices import Floats, Ints
from solver.dp_tables import Tables
from solver.wait_relax import Relaxed

MOST_LABELS = 4000
# Own times closer than this share of the rounding are the same.
QUANTUM = 1e-2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """Labels of one depth, arrays of the same length.

    Parameters
    ----------
    at : array of int
        Node in the layout of the tables.
    gain, own_s : array
        Utility and own times so far.
    parent, rank : array of int
        Label of the layer before, and index of the rank taken from it.
    """

    at: Ints
    gain: Floats
    own_s: Floats
    parent: Ints
    rank: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """Best ranks, or None, and a bound on the utility of all better than the incumbent."""

    ranks: Ints | None
    bound: float


def best_ranks(
    relaxed: Relaxed,
    table: Tables,
    back: Floats,
    price: float,
    needed_s: float,
    incumbent: float,
) -> Best:
    """Find the ranks of largest utility whose own times reach `needed_s`.

    Parameters
    ----------
    relaxed : Relaxed
    table, back : Tables and array
        Priced, and its completions.
    price : float
        Per second of own time.
    needed_s : float
    incumbent : float
        Only better ones are looked for.
    """
    start = table.axes.place(0)
    layers = [
        _Layer(
            at=np.array([start]),
            gain=np.zeros(1),
            own_s=np.zeros(1),
            parent=np.zeros(1, dtype=np.int64),
            rank=np.zeros(1, dtype=np.int64),
        )
    ]
    least = relaxed.problem.question.min_depth
    best, found, bound = incumbent, None, incumbent
    for k in range(len(table.flat)):
        here = layers[-1]
        if k >= least:
            value = np.where(here.own_s >= needed_s, here.gain, -np.inf)
            at = int(value.argmax())
            if value[at] > best:
                best, found = float(value[at]), (k, at)
        if k + 1 == len(table.flat):
            break
        following, lost = _extend(relaxed, table, back[k + 1], here, k, price, needed_s, best)
        bound = max(bound, lost)
        if not len(following.at):
            break
        layers.append(following)
    ranks = None if found is None else _ranks(relaxed, layers, *found)
    return Best(ranks=ranks, bound=max(bound, best))


def _ranks(relaxed: Relaxed, layers: list[_Layer], depth: int, at: int) -> Ints:
    ranks = np.zeros(relaxed.problem.layers, dtype=np.int64)
    for k in range(depth, 0, -1):
        ranks[k - 1] = relaxed.problem.ranks[layers[k].rank[at]]
        at = int(layers[k].parent[at])
    return ranks


def _extend(
    relaxed: Relaxed,
    table: Tables,
    back: Floats,
    here: _Layer,
    k: int,
    price: float,
    needed_s: float,
    best: float,
) -> tuple[_Layer, float]:
    """Labels of the next depth, and the best that a label dropped for room may have led to."""
    axes, choices = table.axes, table.choices
    at = here.at[:, None] + table.strides[k]
    inside = at < len(back)
    at = np.where(inside, at, 0)
    hope = back[at]
    prefix = (at // axes.width - axes.room).clip(0)
    gain = here.gain[:, None] + relaxed.capacity.reach[k + 1][prefix] * table.gains[k]
    own_s = here.own_s[:, None] + relaxed.fixed_s[k][prefix]
    own_s += choices * relaxed.per_rank_s[k][prefix]
    hope = hope + gain + price * (own_s - needed_s)
    parent, rank = np.nonzero(hope > best)
    hope, gain, own_s, at = (v[parent, rank] for v in (hope, gain, own_s, at))
    quantum = relaxed.rounding_s * QUANTUM
    order = np.lexsort((-gain, at))
    node = np.cumsum(np.diff(at[order], prepend=-1) != 0)
    whole = np.rint(own_s[order] / quantum).astype(np.int64)
    span = int(whole.max(initial=0)) + 2
    key = node * span + whole
    passed = np.maximum.accumulate(key)
    kept = order[np.append(True, key[1:] > passed[:-1])[: len(key)]]
    lost = -np.inf
    if len(kept) > MOST_LABELS:
        rising = np.argsort(hope[kept], kind="stable")
        lost = float(hope[kept[rising[-MOST_LABELS - 1]]])
        kept = kept[np.sort(rising[-MOST_LABELS:])]
    layer = _Layer(
        at=at[kept], gain=gain[kept], own_s=own_s[kept], parent=parent[kept], rank=rank[kept]
    )
    return layer, lost
