"""Exact shared ranks by dynamic programming over (layer from the output, prefix sum).

With W_k(S) the weight of the devices that can train depth k at prefix sum S
(`solver.capacity`) and gain[k, r] the marginal gain of layer k at rank r,

    V_k(S) = max_r  V_{k-1}(S - s_k r) + W_k(S) gain[k, r],     V_0(0) = 0,

and the optimum is the largest V_k(S) over all k and S (design section 4). The devices enter
through W alone, so the cost after one pass over them, O(L R S), does not depend on N.

Only the values are kept. The rank taken at a node is found again on the way back, for the few
nodes that lie on the way; filling a table of choices would cost more than the maxima do.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from solver.capacity import Capacity
from solver.devices import Floats, Ints

# Cells (rank, prefix sum) handled at once: they stay in the second-level cache.
CELLS = 1 << 14


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What adapting layer k at prefix sum S and rank r earns beside the gain.

    ``fixed[k - 1, S] + r * per_rank[k - 1, S]``, both of shape (L, S + 1): a Lagrangian price
    on a quantity that adds up over devices and layers.
    """

    fixed: Floats
    per_rank: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The recursion, filled.

    Parameters
    ----------
    flat : array, shape (K + 1, F)
        V_k by prefix sum and rank sum, flattened, for k = 0 up to the last depth anybody
        reaches. Around both axes lies minus infinity, so that a step too far leads nowhere.
    axes : _Axes
        Where (S, B) lies in it.
    strides : array of int, shape (L, R)
        How far a rank of a layer leads in it.
    choices : array of int, shape (R,)
    weight : array, shape (L + 1, S + 1)
        W, see `solver.capacity.Capacity`.
    gains : array, shape (L, R)
    prices : Prices or None
    """

    flat: Floats
    axes: "_Axes"
    strides: Ints
    choices: Ints
    weight: Floats
    gains: Floats
    prices: Prices | None

    @property
    def values(self) -> Floats:
        """V_k by prefix sum and rank sum, shape (K + 1, S + 1, B + 1)."""
        axes = self.axes
        whole = self.flat.reshape(len(self.flat), -1, axes.width)
        return whole[:, axes.room :, axes.margin :]

    def backtrack(self, depth: int, prefix: int, rank_sum: int = 0) -> Ints:
        """Ranks that lead to V_depth(prefix, rank_sum), shape (L,), from the output."""
        taken = [0] * len(self.strides)
        axes = self.axes
        at = axes.place(prefix, rank_sum)
        for k in range(depth, 0, -1):
            before, carried = at - self.strides[k - 1], at // axes.width - axes.room
            earned = self.gains[k - 1] * self.weight[k, carried]
            if self.prices is not None:
                earned += self.prices.fixed[k - 1, carried]
                earned += self.choices * self.prices.per_rank[k - 1, carried]
            earned += self.flat[k - 1].take(before)
            best = earned.argmax()
            taken[k - 1], at = int(self.choices[best]), int(before[best])
        return np.array(taken, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axes:
    """How (prefix sum, rank sum) is laid out in one row.

    Parameters
    ----------
    room, margin : int
        Places before the first prefix sum and the first rank sum.
    width : int
        Places of the rank sum, its margin included; 1 where it needs no watching.
    """

    room: int
    margin: int
    width: int

    def place(self, prefix: int, rank_sum: int = 0) -> int:
        """Where a node lies."""
        return (self.room + prefix) * self.width + self.margin + rank_sum


def shared_ranks(
    capacity: Capacity,
    gains: Floats,
    choices: Ints,
    *,
    min_depth: int,
    rank_budget: int | None,
    prices: Prices | None = None,
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

    Notes
    -----
    Ties go to the smaller rank, then the smaller depth and prefix sum, so the answer is
    unique.
    """
    table = tables(
        capacity, gains, choices, min_depth=min_depth, rank_budget=rank_budget, prices=prices
    )
    # The first largest: the smallest depth, then prefix sum, then rank sum.
    values = table.flat[min_depth:]
    if not values.size:
        return None
    depth, at = divmod(int(values.argmax()), values.shape[1])
    if values[depth, at] == -np.inf:
        return None
    prefix, rank_sum = divmod(at, table.axes.width)
    ranks = table.backtrack(
        min_depth + depth, prefix - table.axes.room, rank_sum - table.axes.margin
    )
    return SharedRanks(value=float(values[depth, at]), ranks=ranks)


def tables(
    capacity: Capacity,
    gains: Floats,
    choices: Ints,
    *,
    min_depth: int = 0,
    rank_budget: int | None = None,
    prices: Prices | None = None,
) -> Tables:
    """Fill V_k for every depth; see `shared_ranks` for the parameters."""
    steps, most = capacity.steps, int(choices[-1])
    top, sums, margin = capacity.reach.shape[1] - 1, 0, 0
    # A budget that no ranks can pass needs no watching.
    if rank_budget is not None and rank_budget < len(steps) * most:
        top = min(top, rank_budget * int(steps.max()))
        # With equal sizes the prefix sum is the rank sum: no second axis is needed.
        if steps.min() != steps.max():
            sums, margin = rank_budget, most
    axes = _Axes(room=int(steps.max()) * most, margin=margin, width=margin + sums + 1)
    table = Tables(
        flat=np.full((len(steps) + 1, (axes.room + top + 1) * axes.width), -np.inf),
        axes=axes,
        strides=(steps[:, None] * axes.width + (margin > 0)) * choices,
        choices=choices,
        weight=capacity.reach,
        gains=gains,
        prices=prices,
    )
    table.flat[0, axes.place(0)] = 0.0
    filled = _fill(table, steps.tolist(), _ends(capacity, min_depth, top))
    return replace(table, flat=table.flat[: filled + 1])


def _ends(capacity: Capacity, min_depth: int, top: int) -> list[int]:
    """How many prefix sums, from 0 on, are carried at each depth, shape (L + 1,).

    By somebody beyond the least depth: without a device nothing is gained. By everybody up
    to it.
    """
    ends = np.minimum(np.count_nonzero(capacity.reach > 0, axis=1), top + 1)
    needed = slice(1, min_depth + 1)
    ends[needed] = np.minimum(ends[needed], capacity.least[needed] + 1)
    found: list[int] = ends.tolist()
    return found


def _fill(table: Tables, steps: list[int], ends: list[int]) -> int:
    """Fill layer by layer, as far as anybody reaches; returns the last depth.

    Prefix sums that no ranks reach are left out on both sides.
    """
    axes, choices = table.axes, table.choices
    least, most = int(choices[0]), int(choices[-1])
    length = max(CELLS // (len(choices) * axes.width), 16)
    windows = {step: _Window.of(axes, step, choices, length) for step in set(steps)}
    cells = np.empty((len(choices), length * axes.width))
    low = high = 0
    for k, step in enumerate(steps, start=1):
        low, high = low + step * least, min(high + step * most, ends[k] - 1)
        if low > high:
            return k - 1
        for start in range(low, high + 1, length):
            end = min(start + length, high + 1)
            first, last = (axes.room + start) * axes.width, (axes.room + end) * axes.width
            earned = _earned(table, k, start, end, cells[:, : last - first])
            earned += windows[step].before(table.flat, k - 1, first, last)
            np.maximum.reduce(earned, axis=0, out=table.flat[k, first:last])
        if axes.margin:
            # What came from the end of the row before.
            table.flat[k].reshape(-1, axes.width)[:, : axes.margin] = -np.inf
    return len(steps)


def _earned(table: Tables, k: int, start: int, end: int, out: Floats) -> Floats:
    """What layer k earns by rank and node, for prefix sums from `start` to before `end`."""

    def spread(values: Floats) -> Floats:
        return values if table.axes.width == 1 else values.repeat(table.axes.width)

    np.multiply(table.gains[k - 1, :, None], spread(table.weight[k, start:end]), out=out)
    if table.prices is not None:
        out += spread(table.prices.fixed[k - 1, start:end])
        out += table.choices[:, None] * spread(table.prices.per_rank[k - 1, start:end])
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """Looks back from every node of a stretch by every rank.

    Parameters
    ----------
    nearest, farthest : int
        How far the smallest and the largest rank lead.
    spacing : int or None
        How far one choice leads beyond another, where they are evenly spaced.
    places : array of int, shape (R, W)
        Where they are not: nodes relative to the farthest.
    """

    nearest: int
    farthest: int
    spacing: int | None
    places: Ints

    @classmethod
    def of(cls, axes: _Axes, step: int, choices: Ints, length: int) -> Self:
        back = choices * (step * axes.width + (axes.margin > 0))
        apart = {0} if len(back) == 1 else set(np.diff(back).tolist())
        even = len(apart) == 1
        nodes = np.arange(0 if even else length * axes.width)
        return cls(
            nearest=int(back[0]),
            farthest=int(back[-1]),
            spacing=apart.pop() if even else None,
            places=nodes + (back[-1] - back)[:, None],
        )

    def before(self, flat: Floats, k: int, first: int, last: int) -> Floats:
        """Values of layer k by rank and node, for nodes from `first` to before `last`."""
        length, item = last - first, flat.itemsize
        if self.spacing is None:
            return flat[k, first - self.farthest :].take(self.places[:, :length])
        # Evenly spaced ranks are a view: each row is the one above, shifted.
        return np.ndarray(
            (len(self.places), length),
            flat.dtype,
            flat,
            (k * flat.shape[1] + first - self.nearest) * item,
            (-self.spacing * item, item),
        )
