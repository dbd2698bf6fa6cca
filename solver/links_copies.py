"""A bound for capped ranks under priced links: a copy of the ranks for groups of devices.

As in `solver.capped_bound`, ranks that are the same for everybody are priced: group g of
devices has multipliers y_g[j, r] that sum to zero over the groups, and device i of it, of
weight w_i, answers alone. At a price p of a unit of the prefix sum, no less than its toll q_i,

    max over k, c, r of  sum_{j<=k} (gain[j, min(r_j, c)] - p s_j min(r_j, c))
        + sum_j u_g[j, r_j] + (p - q_i) room_i(k) + bonus_i(k)       with u_g = y_g / W_g

bounds its value per weight, for the room it leaves is worth p - q_i at most; the least over a
grid of prices holds for every (k, c). The sums depend on the group and the price alone, so
each device is bounded by its own room and its own toll while hundreds share their
multipliers.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from solver.deadline import expired
from solver.devices import Floats, Ints
from solver.links_own import OwnRanks
from solver.links_pool import Prices

GROUPS = 96
PRICES, LAST_PRICES = 14, 64
# Around the mean price of the last answers, as a share of it.
NEAR = np.array([0.7, 0.85, 0.93, 0.97, 1.0, 1.03, 1.08, 1.2, 1.5])
PATIENCE, DEFLECTION, SHORTEST_STEP = 8, 0.7, 1e-3
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """What each device takes: total value, depth, index of the cap, and price, all (N,)."""

    total: float
    depth: Ints
    cap: Ints
    price: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Devices, their groups, and everything they are offered.

    Parameters
    ----------
    weights : array, shape (N,)
    room, toll, bonus : array, shape (N, L + 1)
        In units, price of a unit per weight, worth of the time per weight.
    members : list of arrays of int
        Devices of each group.
    ranks, gains, steps, budget
        As in `solver.capped_bound`: rank 0 comes first where ranks are budgeted.
    """

    weights: Floats
    room: Floats
    toll: Floats
    bonus: Floats
    members: list[Ints]
    ranks: Floats
    gains: Floats
    steps: Floats
    budget: int | None

    @classmethod
    def of(cls, own: OwnRanks, prices: Prices, incumbent: Ints) -> Self:
        """Group the devices by what they do with the incumbent ranks.

        Parameters
        ----------
        own : OwnRanks
            Optimistic capacities.
        prices : Prices
        incumbent : array of int, shape (L,)
        """
        problem = own.problem
        ranks, gains = problem.ranks.astype(np.float64), problem.gains
        budget = problem.question.budgets.rank_budget
        if budget is not None:
            ranks = np.append(0.0, ranks)
            gains = np.pad(gains, ((0, 0), (1, 0)), constant_values=-np.inf)
        w = problem.weights
        alone = cls(
            weights=w,
            room=own.units.T.astype(np.float64),
            toll=(own.per_unit(prices) / w).T,
            bonus=(prices.wait * own.links.count * own.fixed_s() / w).T,
            members=[],
            ranks=ranks,
            gains=gains,
            steps=(problem.costs.sizes // own.unit).astype(np.float64),
            budget=budget,
        )
        depth, cap, price = alone._rest(incumbent)
        order = np.lexsort((price, cap, depth))
        shares = np.cumsum(w[order]) / w.sum()
        place = np.minimum((shares * GROUPS).astype(np.int64), GROUPS - 1)
        members = [order[place == g] for g in np.unique(place)]
        return replace(alone, members=members)

    def descend(
        self, multipliers: Floats, incumbent: Ints, value: float, constant: float, steps: int
    ) -> tuple[Floats, float]:
        """Follow subgradients; the best multipliers and their bound, `constant` added."""
        at = np.searchsorted(self.ranks, incumbent)
        best, least = multipliers, np.inf
        price: Floats | None = None
        length, stalled, direction = 1.0, 0, None
        for _ in range(steps):
            answers = self.answers(multipliers, price)
            bound = answers.total + constant
            price = answers.price
            if bound < least:
                best, least, stalled = multipliers, bound, 0
            else:
                stalled += 1
            if least <= value or length < SHORTEST_STEP or expired():
                break
            if stalled == PATIENCE:
                multipliers, direction = best, None
                length, stalled = length / 2, 0
                continue
            taken = self._taken(multipliers, answers, at)
            if not taken.any():
                break
            direction = (
                taken
                if direction is None
                else DEFLECTION * direction + (1 - DEFLECTION) * taken
            )
            square = max(float((direction**2).sum()), float((taken**2).sum()) / 10)
            multipliers = multipliers - length * (bound - value) / square * direction
        return best, least

    def at_rest(self, incumbent: Ints) -> Floats:
        """Multipliers under which every group is content with the incumbent ranks."""
        depth, cap, price = self._rest(incumbent)
        value = self._own_value(depth, cap, price) * self.weights[:, None, None]
        value = np.where(np.isfinite(value), value, 0.0)
        by_group = np.stack([value[m].sum(axis=0) for m in self.members])
        share = np.array([self.weights[m].sum() for m in self.members])
        multipliers = by_group.sum(axis=0) * (share / share.sum())[:, None, None] - by_group
        if self.budget is None:
            return np.asarray(multipliers)
        return np.concatenate([multipliers, np.zeros((1, *multipliers.shape[1:]))])

    def answers(
        self, multipliers: Floats, last: Floats | None, number: int = PRICES
    ) -> _Answers:
        """Best depth and cap of every device."""
        n = len(self.weights)
        depth, cap, price = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n)
        worth = np.zeros(n)
        for g, members in enumerate(self.members):
            own = multipliers[g] / float(self.weights[members].sum())
            near = None if last is None else last[members]
            found = self._group(own, members, self._grid(members, number, near))
            worth[members], depth[members], cap[members], price[members] = found
        total = float(np.dot(self.weights, worth))
        if self.budget is not None:
            total += _server(multipliers[-1], self.ranks, self.budget)[0]
        rounding = ROUNDING * (float(np.abs(multipliers).max(axis=2).sum()) + abs(total))
        total += rounding - float(multipliers.sum(axis=0).min(axis=1).sum())
        return _Answers(total=total, depth=depth, cap=cap, price=price)

    def _grid(self, members: Ints, number: int, last: Floats | None) -> Floats:
        """Prices of a unit per weight to try for a group, ascending."""
        known = np.isfinite(self.gains[0])
        slopes = np.diff(self.gains[:, known], axis=1, prepend=0.0)
        slopes /= np.diff(self.ranks[known], prepend=0.0) * self.steps[:, None]
        greatest = float(slopes.max()) or 1.0
        least = slopes[slopes > greatest * 1e-5].min(initial=greatest)
        tolls = self.toll[members]
        grid = [np.geomspace(least / 2, greatest, number), np.zeros(1)]
        grid.append(np.quantile(tolls, np.linspace(0, 1, 7)))
        if last is not None:
            grid.append(np.average(last, weights=self.weights[members]) * NEAR)
            grid.append(np.quantile(last, [0.1, 0.3, 0.7, 0.9]))
        found: Floats = np.unique(np.concatenate(grid))
        # Every device needs a price above its own toll.
        return np.asarray(found[found >= tolls.min()])

    def _group(
        self, own: Floats, members: Ints, grid: Floats
    ) -> tuple[Floats, Ints, Ints, Floats]:
        """Value per weight, depth, cap and price of a group's devices."""
        beyond = np.maximum.accumulate(own[:, ::-1], axis=1)[:, ::-1]
        rest = np.append(np.cumsum(beyond[::-1, 0])[::-1], 0.0)
        size = self.steps[:, None] * self.ranks
        worth = grid[:, None, None] * size
        below = np.maximum.accumulate(self.gains + own - worth, axis=2)
        value = np.cumsum(np.maximum(below, self.gains + beyond - worth), axis=1)
        value += rest[1:, None]
        room, toll = self.room[members], self.toll[members]
        count, caps = len(members), len(self.ranks)
        # At its own toll a device pays for no room; between two prices the sums are convex.
        least = _between(grid, value, toll[:, 1:])
        price = np.repeat(toll[:, 1:, None], caps, axis=2)
        for p, sums in zip(grid.tolist(), value, strict=True):
            spare = np.where(p >= toll, (p - toll) * room, np.inf)[:, 1:, None]
            offer = sums + spare
            lower = offer < least
            np.copyto(least, offer, where=lower)
            np.copyto(price, p, where=lower)
        least += self.bonus[members][:, 1:, None]
        least[room[:, 1:] < 0] = -np.inf
        flat = least.reshape(count, -1)
        at = flat.argmax(axis=1)
        every = np.arange(count)
        best = flat[every, at]
        bare = np.where(room[:, 0] >= 0, rest[0] + self.bonus[members][:, 0], -np.inf)
        idle = bare >= best
        depth, cap = np.divmod(at, caps)
        return (
            np.where(idle, bare, best),
            np.where(idle, 0, depth + 1),
            cap,
            price.reshape(count, -1)[every, at],
        )

    def _taken(self, multipliers: Floats, answers: _Answers, incumbent: Ints) -> Floats:
        """Subgradient: how much of each group takes each rank, less the mean of the groups."""
        taken = np.zeros(multipliers.shape)
        layer = np.arange(len(self.steps))
        value = self._own_value(answers.depth, answers.cap, answers.price)
        for g, members in enumerate(self.members):
            share = float(self.weights[members].sum())
            own = value[members] + multipliers[g] / share
            choice = own.argmax(axis=2)
            largest = own.max(axis=2)
            slack = 1e-12 * np.maximum(np.abs(largest), 1.0)
            choice = np.where(own[:, layer, incumbent] >= largest - slack, incumbent, choice)
            for w, chosen in zip(self.weights[members] / share, choice, strict=True):
                taken[g, layer, chosen] += w
        if self.budget is not None:
            choice = _server(multipliers[-1], self.ranks, self.budget)[1]
            taken[-1, layer, choice] = 1.0
        return np.asarray(taken - taken.mean(axis=0))

    def _own_value(self, depth: Ints, cap: Ints, price: Floats) -> Floats:
        """Gain less priced size of every rank per weight, cut off at the cap, (N, L, R)."""
        index = np.minimum(np.arange(len(self.ranks)), cap[:, None])
        size = self.steps[:, None] * self.ranks
        gain = np.moveaxis(self.gains[:, index], 0, 1)
        worth = gain - price[:, None, None] * np.moveaxis(size[:, index], 0, 1)
        adapted = np.arange(len(self.steps)) < depth[:, None]
        return np.where(adapted[:, :, None], worth, 0.0)

    def _rest(self, incumbent: Ints) -> tuple[Ints, Ints, Floats]:
        """Depth, cap and price of a unit of every device at the incumbent ranks."""
        used = int((incumbent > 0).sum())
        capped = np.minimum(incumbent[:used, None], self.ranks)
        index = np.searchsorted(self.ranks, capped)
        gain = np.cumsum(np.take_along_axis(self.gains[:used], index, axis=1), axis=0)
        size = np.cumsum(capped * self.steps[:used, None], axis=0)
        n = len(self.weights)
        room, toll = self.room[:, 1 : used + 1, None], self.toll[:, 1 : used + 1, None]
        bonus = self.bonus[:, 1 : used + 1, None]
        net = np.where(size <= room, gain - toll * size + bonus, -np.inf).reshape(n, -1)
        depth, cap = np.divmod(net.argmax(axis=1), len(self.ranks))
        free = np.where(room < 0, -np.inf, gain - toll * size + bonus).reshape(n, -1)
        least = free.max(axis=1)
        price = toll[np.arange(n), free.argmax(axis=1) // len(self.ranks), 0]
        for p in self._grid(np.arange(n), LAST_PRICES, None).tolist():
            worth = np.where(p >= toll, (p - toll) * room, np.inf) + bonus
            offer = np.where(np.isneginf(gain), -np.inf, gain - p * size)
            nothing = (room < 0) | np.isneginf(offer)
            most = np.where(nothing, -np.inf, np.where(nothing, 0.0, offer) + worth)
            most = most.max(axis=(1, 2))
            lower = most < least
            least[lower], price[lower] = most[lower], p
        depth = np.where(np.isneginf(net.max(axis=1)), 0, depth + 1)
        return depth, cap, price


def _between(grid: Floats, value: Floats, at: Floats) -> Floats:
    """Upper bound of convex functions between grid points.

    Parameters
    ----------
    grid : array, shape (P,), ascending
    value : array, shape (P, L, R)
    at : array, shape (n, L)
        Within the grid.

    Returns
    -------
    array, shape (n, L, R)
    """
    if len(grid) == 1:
        return np.repeat(value, len(at), axis=0)
    high = np.searchsorted(grid, at).clip(1, len(grid) - 1)
    layer = np.arange(at.shape[1])
    share = (at - grid[high - 1]) / (grid[high] - grid[high - 1])
    low_value, high_value = value[high - 1, layer], value[high, layer]
    # Rank 0 adapts nothing: minus infinity on both sides.
    rise = np.subtract(
        high_value, low_value, out=np.zeros_like(low_value), where=np.isfinite(low_value)
    )
    return np.asarray(low_value + share[:, :, None] * rise)


def _server(own: Floats, ranks: Floats, budget: int) -> tuple[float, Ints]:
    """Best ranks within the budget, itself priced, by the server's multipliers."""
    highest = float(own.max() - own.min()) + 1e-12
    best, taken = np.inf, own.argmax(axis=1)
    for price in (0.0, *np.geomspace(highest * 1e-6, highest, LAST_PRICES).tolist()):
        offer = own - price * ranks
        value = price * budget + float(offer.max(axis=1).sum())
        if value < best:
            best, taken = value, offer.argmax(axis=1)
    return best, taken
