"""Dynamic programming over (layer from the output, prefix sum).

With W_k(S) the weight of the devices that can train depth k at prefix sum S
(`solver.costs.capacity`) and gain[k, r] the marginal gain of layer k at rank r,

    V_k(S) = max_r  V_{k-1}(S - s_k r) + W_k(S) gain[k, r],     V_0(0) = 0,

and the optimum is the largest V_k(S) over all k and S (design section 4). The devices enter
through W alone, so the cost after one pass over them, O(L R S), does not depend on N.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np

from solver.costs.capacity import Capacity
from solver.costs.devices import Floats, Ints
from solver.dp.values import Axes, Band, Prices, Tables

# Cells (rank, prefix sum) handled at once: they stay in the second-level cache.
CELLS = 1 << 15


def tables(
    capacity: Capacity,
    gains: Floats,
    choices: Ints,
    *,
    min_depth: int = 0,
    rank_budget: int | None = None,
    prices: Prices | None = None,
    band: Band | None = None,
    earned: Sequence[Floats] | None = None,
) -> Tables:
    """Fill V_k for every depth, within a band if there is one; see `shared_ranks`."""
    if earned is not None:
        prices = None
    steps, most = capacity.steps, int(choices[-1])
    top, sums, margin = capacity.reach.shape[1] - 1, 0, 0
    # A budget that no ranks can pass needs no watching.
    if rank_budget is not None and rank_budget < len(steps) * most:
        top = min(top, rank_budget * int(steps.max()))
        # With equal sizes the prefix sum is the rank sum: no second axis is needed.
        if steps.min() != steps.max():
            sums, margin = rank_budget, most
    axes = Axes(room=int(steps.max()) * most, margin=margin, width=margin + sums + 1)
    stretches = _stretches(capacity, choices, top, min_depth, band)
    # Beyond the last prefix sum that is looked at nothing is kept either.
    top = max(high for _, high in stretches)
    table = Tables(
        flat=np.full((len(stretches), (axes.room + top + 1) * axes.width), -np.inf),
        axes=axes,
        strides=axes.lead(steps[:, None]) * choices,
        spacing=_spacing(choices),
        choices=choices,
        weight=capacity.reach,
        gains=gains,
        earned=earned,
        prices=prices,
        factors=np.empty((0, 0, 3)) if prices is None else prices.factors(gains, choices),
        stretches=stretches,
    )
    table.flat[0, axes.place(0)] = 0.0
    _fill(table, steps.tolist())
    return table


def _spacing(choices: Ints) -> int | None:
    """How far the choices lie apart, 0 for a single one; None where not evenly."""
    apart = set(np.diff(choices).tolist()) or {0}
    return apart.pop() if len(apart) == 1 else None


def _stretches(
    capacity: Capacity, choices: Ints, top: int, min_depth: int, band: Band | None
) -> list[tuple[int, int]]:
    """First and last prefix sum of each depth, as deep as anybody gets.

    Between what the smallest and the largest ranks lead to, and no further than somebody
    carries, for without a device nothing is gained; up to the least depth, than everybody
    carries.
    """
    steps, least, most = capacity.steps.tolist(), int(choices[0]), int(choices[-1])
    ends = np.minimum(capacity.ends, top)
    needed = slice(1, min_depth + 1)
    ends[needed] = np.minimum(ends[needed], capacity.least[needed])
    starts = np.zeros_like(ends)
    if band is not None:
        starts, ends = band.low, np.minimum(ends, band.high)
    found = [(0, 0)]
    for step, start, end in zip(steps, starts[1:].tolist(), ends[1:].tolist(), strict=True):
        low, high = found[-1]
        low, high = max(low + step * least, start), min(high + step * most, end)
        if low > high:
            break
        found.append((low, high))
    return found


def _fill(table: Tables, steps: list[int]) -> None:
    """Fill layer by layer."""
    axes, choices, stretches = table.axes, table.choices, table.stretches
    ranks = choices.tolist()
    length = max(CELLS // (len(choices) * axes.width), 16)
    windows = {step: _Window.of(table, step, length) for step in set(steps)}
    cells = np.empty((len(choices), length * axes.width))
    for k, ((before_low, before_high), (low, high)) in enumerate(pairwise(stretches), start=1):
        window = windows[steps[k - 1]]
        for start in range(low, high + 1, length):
            end = min(start + length, high + 1)
            rows = ranks_between(ranks, steps[k - 1], start - before_high, end - 1 - before_low)
            first, last = (axes.room + start) * axes.width, (axes.room + end) * axes.width
            earned = earnings(table, k, rows, start, end, cells[rows, : last - first])
            earned += window.before(table.flat, k - 1, rows, first, last)
            np.maximum.reduce(earned, axis=0, out=table.flat[k, first:last], initial=-np.inf)
        if axes.margin:
            # What came from the end of the row before.
            table.flat[k].reshape(-1, axes.width)[:, : axes.margin] = -np.inf


def ranks_between(ranks: list[int], step: int, least: int, most: int) -> slice:
    """Choices that make a step from `least` to `most` long."""
    if step == 0:
        return slice(None)
    return slice(bisect_left(ranks, -(-least // step)), bisect_right(ranks, most // step))


def earnings(table: Tables, k: int, rows: slice, start: int, end: int, out: Floats) -> Floats:
    """What layer k earns by rank and node, for prefix sums from `start` to before `end`."""
    if table.earned is not None:
        reward = table.earned[k - 1][rows, start:end]
        wide = table.axes.width > 1
        out[:] = reward.repeat(table.axes.width, axis=1) if wide else reward
        return out
    if table.prices is None:
        weight = table.weight[k, start:end]
        if table.axes.width > 1:
            weight = weight.repeat(table.axes.width)
        return np.multiply(table.gains[k - 1, rows, None], weight, out=out)
    sums = table.prices.sums[k - 1, :, start:end]
    if table.axes.width > 1:
        sums = sums.repeat(table.axes.width, axis=1)
    return np.matmul(table.factors[k - 1, rows], sums, out=out)


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
    def of(cls, table: Tables, step: int, length: int) -> Self:
        apart, each = table.spacing, table.axes.lead(step)
        back = each * table.choices
        nodes = np.arange(0 if apart is not None else length * table.axes.width)
        return cls(
            nearest=int(back[0]),
            farthest=int(back[-1]),
            spacing=None if apart is None else each * apart,
            places=nodes + (back[-1] - back)[:, None],
        )

    def before(self, flat: Floats, k: int, rows: slice, first: int, last: int) -> Floats:
        """Values of layer k by rank and node, for nodes from `first` to before `last`."""
        length, item = last - first, flat.itemsize
        if self.spacing is None:
            return flat[k, first - self.farthest :].take(self.places[rows, :length])
        # Evenly spaced ranks are a view: each row is the one above, shifted.
        return np.ndarray(
            (len(self.places), length),
            flat.dtype,
            flat,
            (k * flat.shape[1] + first - self.nearest) * item,
            (-self.spacing * item, item),
        )[rows]
