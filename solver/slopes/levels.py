"""The best plan through every rank of every layer: which of them a search may forget.

The dynamic program of `solver.dp` run forwards, V_k(S), and backwards, B_k(S), the most that
the layers from k + 1 on add to a prefix sum S. The best value of all plans that give layer k
rank r is then

    max over S of  V_{k-1}(S - s_k r) + W_k(S) gain[k, r] + B_k(S).

A budget on the rank sum and a shape of the ranks are not looked at, which only raises it. At
a price of what a layer costs or takes (`solver.dp.values.Prices`) that is part of its gain.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from solver.costs.capacity import Capacity
from solver.costs.devices import Floats, Ints
from solver.dp.values import Prices

# Prefix sums times ranks that one layer's table may have.
MOST_CELLS = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Best values and the best ranks.

    Parameters
    ----------
    value : float
        Of the best plan; minus infinity without one.
    ranks : array of int, shape (L,)
        Its ranks, from the output; 0 where nobody adapts the layer.
    through : array, shape (L, R)
        Best value of a plan with that rank; minus infinity where there is none.
    """

    value: float
    ranks: Ints
    through: Floats


def small_enough(table: Capacity, choices: Ints) -> bool:
    """Whether the tables fit."""
    return int(table.reach.shape[1]) * len(choices) <= MOST_CELLS


def levels(
    table: Capacity,
    gains: Floats,
    choices: Ints,
    low: Ints,
    high: Ints,
    *,
    min_depth: int,
    prices: Prices | None = None,
) -> Levels:
    """Solve forwards and backwards for ranks within a box.

    Parameters
    ----------
    table : Capacity
        For ranks within the box.
    gains : array, shape (L, R)
    choices : array of int, shape (R,)
    low, high : array of int, shape (L,)
        First and last index of the choices that a layer may have.
    min_depth : int
        Every device must reach it.
    prices : Prices, optional
        Added to the value.
    """
    box = _Box.of(table, gains, choices, low, high, min_depth, prices)
    values = box.values()
    earned = [box.enter(values, k) for k in range(1, len(low) + 1)]
    peaks = values.max(axis=1)
    depth = min_depth + int(np.argmax(peaks[min_depth:]))
    return Levels(
        value=float(peaks[depth]),
        ranks=_backtrack(box, values, earned, depth),
        through=_through(box, earned),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    """The recursion within a box.

    Parameters
    ----------
    table : Capacity
    gains : array, shape (L, R)
    choices : array of int, shape (R,)
    allowed : list of slice, length L
        Of the choices, by layer.
    shifts : list of array of int, length L
        How far each allowed rank leads.
    min_depth : int
    room : int
        Places before the first prefix sum and after the last one: minus infinity lies there,
        so that a step too far leads nowhere.
    stretches : list of tuple of int, length L + 1
        First place that the ranks allowed lead to and the one after the last, by depth.
    prices : Prices or None
    """

    table: Capacity
    gains: Floats
    choices: Ints
    allowed: list[slice]
    shifts: list[Ints]
    min_depth: int
    room: int
    stretches: list[tuple[int, int]]
    prices: Prices | None

    @classmethod
    def of(
        cls,
        table: Capacity,
        gains: Floats,
        choices: Ints,
        low: Ints,
        high: Ints,
        min_depth: int,
        prices: Prices | None,
    ) -> Self:
        allowed = [slice(a, b + 1) for a, b in zip(low.tolist(), high.tolist(), strict=True)]
        steps, tops = table.steps.tolist(), table.reach.shape[1]
        room = max(steps) * int(choices[-1])
        first = room + np.minimum(np.cumsum(table.steps * choices[low]), tops)
        end = room + np.minimum(np.cumsum(table.steps * choices[high]) + 1, tops)
        return cls(
            table=table,
            gains=gains,
            choices=choices,
            allowed=allowed,
            shifts=[step * choices[ranks] for step, ranks in zip(steps, allowed, strict=True)],
            min_depth=min_depth,
            room=room,
            stretches=[(room, room + 1), *zip(first.tolist(), end.tolist(), strict=True)],
            prices=prices,
        )

    @property
    def places(self) -> int:
        """Places of one depth."""
        return int(self.table.reach.shape[1]) + 2 * self.room

    def values(self) -> Floats:
        """Best value at depth 0, and none yet at others, shape (L + 1, places)."""
        values = np.full((len(self.stretches), self.places), -np.inf)
        values[0, self.room] = 0.0
        return values

    def weight(self, k: int) -> Floats:
        """Weight that carries each place of a depth; 0 where all must and one cannot."""
        first, end = (place - self.room for place in self.stretches[k])
        weight = self.table.reach[k, first:end].copy()
        if k <= self.min_depth:
            weight[max(int(self.table.least[k]) + 1 - first, 0) :] = 0.0
        return weight

    def _terms(self, k: int, weight: Floats) -> Iterator[tuple[Floats, Floats]]:
        """What a layer earns, as products of a factor by rank, (R', 1), and a row by place."""
        yield self.gains[k - 1, self.allowed[k - 1], None], weight
        if self.prices is not None:
            first, end = (place - self.room for place in self.stretches[k])
            _, per_rank, fixed = self.prices.sums[k - 1, :, first:end]
            ranks = self.choices[self.allowed[k - 1], None]
            yield np.asarray(self.prices.price * ranks), per_rank
            yield np.full((1, 1), self.prices.price), fixed

    def enter(self, values: Floats, k: int) -> Floats:
        """Fill the values of depth k; returns them by the rank taken, shape (R', S')."""
        (first, end), weight = self.stretches[k], self.weight(k)
        reached = _windows(values[k - 1], end - first)[first - self.shifts[k - 1]]
        for factor, row in self._terms(k, weight):
            reached += factor * row
        # A prefix sum that no device carries ends there.
        reached[:, weight <= 0] = -np.inf
        np.maximum.reduce(reached, axis=0, out=values[k, first:end], initial=-np.inf)
        return reached

    def leave(self, after: Floats, k: int) -> Floats:
        """What layer k and those after it add, at the places of depth k - 1.

        `after` is what those after it add, at the places of depth k.
        """
        (first, end), (start, stop) = self.stretches[k], self.stretches[k - 1]
        weight, there = self.weight(k), np.zeros(self.places)
        there[first:end] = weight
        after = np.where(there > 0, after, -np.inf)
        ahead = start + self.shifts[k - 1]
        added = _windows(after, stop - start)[ahead]
        for factor, row in self._terms(k, weight):
            there[first:end] = row
            added += factor * _windows(there, stop - start)[ahead]
        before = np.full(self.places, -np.inf)
        stay = 0.0 if k - 1 >= self.min_depth else -np.inf
        np.maximum.reduce(added, axis=0, out=before[start:stop], initial=stay)
        return before


def _windows(row: Floats, length: int) -> Floats:
    """View whose row j holds `length` values from place j on, shape (J, length)."""
    step = row.strides[0]
    shape = (len(row) - length + 1, length)
    return np.ndarray(shape, row.dtype, row, strides=(step, step))


def _backtrack(box: _Box, values: Floats, earned: list[Floats], depth: int) -> Ints:
    ranks = np.zeros(len(earned), dtype=np.int64)
    if np.isneginf(values[depth]).all():
        return ranks
    at = int(np.argmax(values[depth]))
    for k in range(depth, 0, -1):
        choice = int(np.argmax(earned[k - 1][:, at - box.stretches[k][0]]))
        ranks[k - 1] = box.choices[box.allowed[k - 1]][choice]
        at -= int(box.shifts[k - 1][choice])
    return ranks


def _through(box: _Box, earned: list[Floats]) -> Floats:
    through = np.full(box.gains.shape, -np.inf)
    after = np.zeros(box.places)
    for k in range(len(earned), 0, -1):
        first, end = box.stretches[k]
        whole = earned[k - 1] + after[first:end]
        through[k - 1, box.allowed[k - 1]] = whole.max(axis=1, initial=-np.inf)
        after = box.leave(after, k)
    return through
