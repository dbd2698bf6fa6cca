"""Groups of devices that answer a price list for ranks on their own.

The parts into which `solver.capped_bound` takes the problem with capped ranks apart. Group i
is paid u[r, j, i] if layer j gets rank r, and picks its depth, cap and ranks:

    v_i(u) = max over k, c, r  of  w_i sum_{j<=k} gain[j, min(r_j, c)] + sum_j u[r_j, j, i],
             where  sum_{j<=k} s_j min(r_j, c) <= room_i(k).

The capacity is priced in turn, by the best of some prices for each (k, c): what is left falls
apart into layers, and running maxima over the ranks give the answer for all caps at once.

Shapes: R ranks, L layers from the output, G groups (last, so that they are contiguous), Q
prices of capacity.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from solver.devices import Floats, Ints
from solver.problem import Problem
from solver.rooms import Rooms

# Prices of capacity around the one that mattered last, as a share of it.
NEAR = np.array([0.8, 0.92, 0.97, 0.99, 1.0, 1.01, 1.03, 1.08, 1.25])


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What each group takes under some multipliers.

    Parameters
    ----------
    values : array, shape (G,)
    depth, cap : arrays of int, shape (G,)
        Depth, and index of the cap among the ranks.
    price : array, shape (G,)
        Price of a unit of capacity per weight at which the value stands.
    """

    values: Floats
    depth: Ints
    cap: Ints
    price: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The groups, each with what it can carry.

    Parameters
    ----------
    weights : array, shape (G,)
    room : array, shape (L + 1, G)
        Capacity by depth; -1 where there is none.
    ranks : array, shape (R,)
        Rank choices; where ranks are budgeted, 0 (nobody adapts the layer) comes first.
    gains, sizes : array, shape (R, L)
        Gain, minus infinity at rank 0, and size in units of the capacity.
    """

    weights: Floats
    room: Floats
    ranks: Floats
    gains: Floats
    sizes: Floats

    @classmethod
    def of(cls, problem: Problem, rooms: Rooms) -> Self:
        """Take the problem's ranks and gains, and rooms for its groups."""
        ranks, gains = problem.ranks.astype(np.float64), problem.gains.T
        if problem.question.budgets.rank_budget is not None:
            ranks = np.append(0.0, ranks)
            gains = np.pad(gains, ((1, 0), (0, 0)), constant_values=-np.inf)
        return cls(
            weights=rooms.weights,
            room=rooms.room.T.astype(np.float64),
            ranks=ranks,
            gains=np.ascontiguousarray(gains),
            sizes=ranks[:, None] * rooms.steps,
        )

    def prices(self, number: int, last: Floats | None = None) -> Floats:
        """Prices of a unit of capacity per weight, shape (Q, G).

        0, `number - 1` from the least to the greatest marginal gain, and some near the last.
        """
        known = np.isfinite(self.gains[:, 0])
        more = np.diff(self.gains[known], axis=0, prepend=0.0)
        slopes = more / np.diff(self.sizes[known], axis=0, prepend=0.0)
        greatest = float(slopes.max()) or 1.0
        least = slopes[slopes > greatest * 1e-5].min(initial=greatest)
        coarse = np.append(0.0, np.geomspace(least / 2, greatest, number - 1))
        grid = np.broadcast_to(coarse[:, None], (number, len(self.weights)))
        return grid if last is None else np.concatenate([grid, NEAR[:, None] * last])

    def answers(self, own: Floats, prices: Floats) -> Answers:
        """Best depth and cap of every group.

        Parameters
        ----------
        own : array, shape (R, L, G)
            Multipliers; all sums are done in their precision.
        prices : array, shape (Q, G)
            Prices of capacity; any of them bounds, the least bound of a (k, c) counts.
        """
        kind = own.dtype
        gain = (self.weights * self.gains[:, :, None]).astype(kind)
        # Best rank from the cap on, as every rank there counts as the cap.
        beyond = np.maximum.accumulate(own[::-1], axis=0)[::-1]
        # Layers below the depth take any rank: their best multipliers.
        rest = np.zeros((self.room.shape[0], own.shape[2]), dtype=kind)
        rest[:-1] = np.cumsum(beyond[0][::-1], axis=0)[::-1]
        unit = (self.weights * prices).astype(kind)
        room = self.room[1:, None].astype(kind)
        spare = np.where(room < 0, -np.inf, unit * room + rest[1:, None])
        best = _Best.nothing(spare)
        running, sizes = np.full_like(spare, -np.inf), self.sizes.astype(kind)
        for index, (below, at_cap) in enumerate(zip(gain + own, gain + beyond, strict=True)):
            worth = sizes[index][:, None, None] * unit
            np.maximum(running, below[:, None] - worth, out=running)
            value = np.maximum(at_cap[:, None] - worth, running)
            for layer in range(1, len(value)):
                value[layer] += value[layer - 1]
            value += spare
            best.keep(index, value)
        return best.answers(prices, np.where(self.room[0] < 0, -np.inf, rest[0]))

    def own_value(self, answers: Answers) -> Floats:
        """Gain less priced size of every rank, cut off at the cap, shape (R, L, G)."""
        index = np.minimum(np.arange(len(self.ranks))[:, None], answers.cap)
        worth = np.empty((len(self.ranks), self.sizes.shape[1], len(self.weights)))
        for j, (gain, size) in enumerate(zip(self.gains.T, self.sizes.T, strict=True)):
            held = (gain[index] - answers.price * size[index]) * self.weights
            worth[:, j] = np.where(j < answers.depth, held, 0.0)
        return worth

    def at_rest(self, incumbent: Ints, number: int) -> Answers:
        """Depth, cap and price of capacity of every group at shared ranks, shape (L,).

        The price, one of `number`, is the one at which its best answer costs least: there the
        group would gain no more from capacity than capacity costs.
        """
        used = int((incumbent > 0).sum())
        index = np.minimum(
            np.searchsorted(self.ranks, incumbent), np.arange(len(self.ranks))[:, None]
        )
        layers = np.arange(len(incumbent))
        gain, size = (
            np.cumsum(table[index, layers], axis=1).T[:, :, None]
            for table in (self.gains, self.sizes)
        )
        gain[used:] = -np.inf
        room = self.room[1:, None]
        prices = self.prices(number)[:, 0]
        most = np.stack(
            [
                np.where(room < 0, -np.inf, gain + unit * (room - size)).max(axis=(0, 1))
                for unit in prices.tolist()
            ]
        )
        fitting = np.where(size <= room, gain, -np.inf).reshape(-1, len(self.weights))
        depth, cap = np.divmod(fitting.argmax(axis=0), len(self.ranks))
        values = fitting.max(axis=0)
        return Answers(
            values=values,
            depth=np.where(np.isneginf(values), 0, depth + 1),
            cap=cap,
            price=prices[most.argmin(axis=0)],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Best:
    """Best cap so far by depth: its value (L, G), index (L, G), value by price (L, Q, G)."""

    value: Floats
    cap: Ints
    by_price: Floats

    @classmethod
    def nothing(cls, like: Floats) -> Self:
        by_price = np.full_like(like, -np.inf)
        value = by_price[:, 0].copy()
        return cls(value=value, cap=np.zeros(value.shape, dtype=np.int64), by_price=by_price)

    def keep(self, index: int, by_price: Floats) -> None:
        """Take over what the cap of an index does better."""
        value = by_price.min(axis=1)
        better = value > self.value
        np.copyto(self.value, value, where=better)
        np.copyto(self.cap, index, where=better)
        np.copyto(self.by_price, by_price, where=better[:, None])

    def answers(self, prices: Floats, idle: Floats) -> Answers:
        """Pick the depth, or depth 0 where `idle` is worth as much."""
        every = np.arange(self.value.shape[1])
        depth = self.value.argmax(axis=0)
        values = self.value[depth, every]
        price = prices[self.by_price[depth, :, every].argmin(axis=1), every]
        return Answers(
            values=np.maximum(values, idle).astype(np.float64),
            depth=np.where(idle >= values, 0, depth + 1),
            cap=self.cap[depth, every],
            price=price,
        )
