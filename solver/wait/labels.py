"""Best ranks whose own times add up to enough: label setting between two dynamic programs.

A label is a path from the output to a node (depth, prefix sum): its utility G and own times
H. One with less of both than another at the same node is dropped, and so is one that cannot
beat the incumbent: with the priced program's completions B (`solver.dp.completions`)
no path through it is worth more than

    G + price (H - needed) + B_k(S),    for its own times must reach `needed` in the end.

That holds at any price. A label with own times to spare is worth less at a lower one than the
best price, a label short of them less at a higher one, so it is dropped by whichever says so.
Steps that no better path takes at the best price are left out before there are labels. Should
there still be too many, the best are kept, and the bound says what the others might have been.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from solver.costs.devices import Floats, Ints
from solver.dp.values import Tables
from solver.wait.relax import Relaxed

MOST_LABELS = 1000
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """What lies beyond each node at a price per second of own time.

    Parameters
    ----------
    price : float
    back : array
        Completions, see `solver.dp.completions`.
    """

    price: float
    back: Floats


def best_ranks(
    relaxed: Relaxed, table: Tables, ahead: Sequence[Ahead], needed_s: float, incumbent: float
) -> Best:
    """Find the ranks of largest utility whose own times reach `needed_s`.

    Parameters
    ----------
    relaxed : Relaxed
    table : Tables
        Priced.
    ahead : sequence of Ahead
        At the table's price, and at others: a label is worth no more than the least of them
        says, whether it has own times to spare or is short of them.
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
        following, lost = _extend(relaxed, table, ahead, here, k, needed_s, best)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arcs:
    """Steps to the next depth that a better path may take, grouped by where they begin.

    Parameters
    ----------
    count, first : array of int
        How many begin at each node that labels are at, and the number of the first.
    head, rank : array of int
        Node that each leads to, and index of the rank it takes.
    gain, own_s : array
        What it adds.
    """

    count: Ints
    first: Ints
    head: Ints
    rank: Ints
    gain: Floats
    own_s: Floats

    @classmethod
    def of(
        cls,
        relaxed: Relaxed,
        table: Tables,
        ahead: Ahead,
        k: int,
        tails: Ints,
        needed_s: float,
        best: float,
    ) -> Self:
        """Steps from depth k that a path may take which is worth more than `best`."""
        back, price, least = ahead.back[k + 1], ahead.price, best + ahead.price * needed_s
        heads = np.flatnonzero(table.flat[k + 1] + back > least)
        apart, strides = heads - tails[:, None], table.strides[k]
        rank = np.searchsorted(strides, apart).clip(max=len(strides) - 1)
        tail, head = np.nonzero(strides[rank] == apart)
        rank, head = rank[tail, head], heads[head]
        prefix = head // table.axes.width - table.axes.room
        gain = relaxed.capacity.reach[k + 1][prefix] * table.gains[k, rank]
        own_s = relaxed.fixed_s[k][prefix] + table.choices[rank] * relaxed.per_rank_s[k][prefix]
        most = table.flat[k][tails[tail]] + gain + price * own_s + back[head]
        kept = most > least
        count = np.bincount(tail[kept], minlength=len(tails))
        return cls(
            count=count,
            first=np.cumsum(count) - count,
            head=head[kept],
            rank=rank[kept],
            gain=gain[kept],
            own_s=own_s[kept],
        )


def _extend(
    relaxed: Relaxed,
    table: Tables,
    ahead: Sequence[Ahead],
    here: _Layer,
    k: int,
    needed_s: float,
    best: float,
) -> tuple[_Layer, float]:
    """Labels of the next depth, and the best that a label dropped for room may have led to."""
    tails, at = np.unique(here.at, return_inverse=True)
    arcs = _Arcs.of(relaxed, table, ahead[0], k, tails, needed_s, best)
    # Every label takes every step from its node.
    count = arcs.count[at]
    parent = np.repeat(np.arange(len(at)), count)
    arc = np.arange(len(parent)) + np.repeat(arcs.first[at] - np.cumsum(count) + count, count)
    gain, own_s = here.gain[parent] + arcs.gain[arc], here.own_s[parent] + arcs.own_s[arc]
    hope = np.full(len(arc), np.inf)
    for each in ahead:
        beyond = each.back[k + 1][arcs.head]
        np.minimum(hope, gain + each.price * (own_s - needed_s) + beyond[arc], out=hope)
    better = np.flatnonzero(hope > best)
    hope, gain, own_s = hope[better], gain[better], own_s[better]
    parent, arc = parent[better], arc[better]
    kept = _undominated(arcs.head[arc], gain, own_s, relaxed.rounding_s * QUANTUM)
    lost = -np.inf
    if len(kept) > MOST_LABELS:
        rising = np.argsort(hope[kept], kind="stable")
        lost = float(hope[kept[rising[-MOST_LABELS - 1]]])
        kept = kept[np.sort(rising[-MOST_LABELS:])]
    layer = _Layer(
        at=arcs.head[arc[kept]],
        gain=gain[kept],
        own_s=own_s[kept],
        parent=parent[kept],
        rank=arcs.rank[arc[kept]],
    )
    return layer, lost


def _undominated(at: Ints, gain: Floats, own_s: Floats, quantum_s: float) -> Ints:
    """Labels that none at the same node has as much gain and own times as, by node."""
    # Few nodes, many labels: sorting by gain, then by the node as a short number, is sooner
    # done than sorting by both.
    falling, short = np.argsort(-gain), np.min_scalar_type(int(at.max(initial=0)))
    order = falling[np.argsort(at[falling].astype(short), kind="stable")]
    node = np.cumsum(np.diff(at[order], prepend=-1) != 0)
    whole = np.rint(own_s[order] / quantum_s).astype(np.int64)
    key = node * (int(whole.max(initial=0)) + 2) + whole
    passed = np.maximum.accumulate(key)
    first: Ints = order[np.append(True, key[1:] > passed[:-1])[: len(key)]]
    return first
