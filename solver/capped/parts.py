"""Groups of devices that answer a price list for ranks on their own.

The parts into which `solver.capped.bound` takes the problem with capped ranks apart. Group i
is paid u[r, j, i] if layer j gets rank r, and picks its depth, cap and ranks:

    v_i(u) = max over k, c, r  of  w_i sum_{j<=k} gain[j, min(r_j, c)] + sum_j u[r_j, j, i],
             where  sum_{j<=k} s_j min(r_j, c) <= room_i(k).

Where a second of own time has a price, the gain has that of a rank added, and every depth that
of its own.
The capacity is priced in turn, by the best of some prices for each (k, c): what is left falls
apart into layers, and running maxima over the ranks give the answer for all caps at once.

Shapes: R ranks, L layers from the output, G groups (last, so that they are contiguous), Q
prices of capacity.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np

from solver.costs.devices import Floats, Ints
from solver.problem import Problem
from solver.slopes.rooms import Rooms

# Prices of capacity around the one that mattered last, as a share of it.
NEAR = np.array([0.8, 0.92, 0.97, 0.99, 1.0, 1.01, 1.03, 1.08, 1.25])

# Values (cap, depth, price, group) that are kept at once: some megabytes.
CELLS = 1 << 22
# And that are computed at once, so that they stay in cache.
CHUNK = 1 << 16


class Answers(NamedTuple):
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
class OwnTimes:
    """What groups of devices take at most, and what they must.

    Parameters
    ----------
    fixed_s : array, shape (L + 1, G)
        Sum over the devices of a group without ranks, by depth.
    slope_s : array, shape (L, G)
        Of a rank.
    needed_s : float
        What all own times add up to, at least.
    round_s : float
        What they would add up to if nobody waited, about.
    """

    fixed_s: Floats
    slope_s: Floats
    needed_s: float
    round_s: float


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
    worth : array, shape (R, L, G)
        What a rank is worth to a group: its gain, weighted, and its own time, priced.
    bonus : array, shape (L + 1, G)
        What the time without ranks is worth, by depth.
    """

    weights: Floats
    room: Floats
    ranks: Floats
    gains: Floats
    sizes: Floats
    worth: Floats
    bonus: Floats

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
            worth=rooms.weights * gains[:, :, None],
            bonus=np.zeros(rooms.room.T.shape),
        )

    def priced(self, times: OwnTimes, second: float) -> Self:
        """The same groups where a second of their own time has a price."""
        worth = self.weights * self.gains[:, :, None]
        worth += second * self.ranks[:, None, None] * times.slope_s
        return replace(self, worth=worth, bonus=second * times.fixed_s)

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
        # Best rank from the cap on, as every rank there counts as the cap.
        beyond = np.maximum.accumulate(own[::-1], axis=0)[::-1]
        apiece = prices.shape[0] * self.worth[:, :, 0].size
        blocks = 1 + apiece * own.shape[2] // CELLS
        found = [
            self._answers(own[:, :, where], beyond[:, :, where], prices[:, where], where)
            for where in _slices(own.shape[2], blocks)
        ]
        return Answers(*(np.concatenate(part) for part in zip(*found, strict=True)))

    def _answers(self, own: Floats, beyond: Floats, prices: Floats, where: slice) -> Answers:
        """Answers of some groups; as `answers`."""
        kind = own.dtype
        gain, bonus = self.worth[:, :, where].astype(kind), self.bonus[:, where].astype(kind)
        # Layers below the depth take any rank: their best multipliers.
        rest = bonus.copy()
        rest[:-1] += np.cumsum(beyond[0][::-1], axis=0)[::-1]
        unit = (self.weights[where] * prices).astype(kind)
        room = self.room[1:, None, where].astype(kind)
        spare = np.where(room < 0, -np.inf, unit * room + rest[1:, None])
        sizes = self.sizes.astype(kind)[:, :, None, None]
        values = np.empty((len(sizes), *spare.shape), dtype=kind)
        least = np.empty((len(sizes), len(spare), spare.shape[2]), dtype=kind)
        below, at_cap = (gain + own)[:, :, None], (gain + beyond)[:, :, None]
        running = np.full_like(spare, -np.inf)
        for caps in _slices(len(sizes), 1 + values.size // CHUNK):
            value, worth = values[caps], sizes[caps] * unit
            np.subtract(below[caps], worth, out=value)
            for each in value:
                running = np.maximum(each, running, out=each)
            # What follows overwrites it.
            running = running.copy()
            np.subtract(at_cap[caps], worth, out=worth)
            np.maximum(value, worth, out=value)
            for layer in range(1, value.shape[1]):
                value[:, layer] += value[:, layer - 1]
            value += spare
            value.min(axis=2, out=least[caps])
        every = np.arange(spare.shape[2])
        # The first cap of the greatest value at the first such depth.
        depth = least.max(axis=0).argmax(axis=0)
        cap = least[:, depth, every].argmax(axis=0)
        most = least[cap, depth, every]
        idle = np.where(self.room[0, where] < 0, -np.inf, rest[0])
        return Answers(
            values=np.maximum(most, idle).astype(np.float64),
            depth=np.where(idle >= most, 0, depth + 1),
            cap=cap,
            price=prices[values[cap, depth, :, every].argmin(axis=1), every],
        )

    def own_value(self, answers: Answers) -> Floats:
        """Gain less priced size of every rank, cut off at the cap, shape (R, L, G)."""
        index = np.minimum(np.arange(len(self.ranks))[:, None], answers.cap)
        worth = np.empty((len(self.ranks), self.sizes.shape[1], len(self.weights)))
        unit = answers.price * self.weights
        for j, size in enumerate(self.sizes.T):
            held = np.take_along_axis(self.worth[:, j], index, axis=0) - unit * size[index]
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
        size = np.cumsum(self.sizes[index, layers], axis=1).T[:, :, None]
        worth = np.cumsum(self.worth[index, layers], axis=1).transpose(1, 0, 2)
        worth += self.bonus[1:, None]
        worth[used:] = -np.inf
        room = self.room[1:, None]
        spare = self.weights * (room - size)
        offer = np.where(room < 0, -np.inf, worth)
        prices = self.prices(number)[:, 0]
        # What the best answer costs is convex in the price.
        low = np.zeros(len(self.weights), dtype=np.int64)
        high = np.full_like(low, number - 1)
        while (low < high).any():
            middle = (low + high) // 2
            here, beyond = (
                (offer + prices[at] * spare).max(axis=(0, 1))
                for at in (middle, np.minimum(middle + 1, number - 1))
            )
            falls = beyond < here
            low = np.where(falls, np.minimum(middle + 1, high), low)
            high = np.where(falls, high, middle)
        fitting = np.where(size <= room, worth, -np.inf).reshape(-1, len(self.weights))
        depth, cap = np.divmod(fitting.argmax(axis=0), len(self.ranks))
        values = fitting.max(axis=0)
        return Answers(
            values=values,
            depth=np.where(np.isneginf(values), 0, depth + 1),
            cap=cap,
            price=prices[low],
        )


def _slices(number: int, parts: int) -> list[slice]:
    """Cut so many places into parts of nearly the same length, none of them empty."""
    ends = np.linspace(0, number, min(parts, number) + 1).round().astype(np.int64).tolist()
    return [slice(*pair) for pair in pairwise(ends)]
