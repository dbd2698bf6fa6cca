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

from solver.devices import Floats, Ints
from solver.links_own import OwnRanks
from solver.links_pool import Prices, Window
from solver.links_sums import Sums, Taken, Terms

GROUPS = 192
LAST_PRICES = 64
# Around the mean price of the last answers, as a share of it; and quantiles of these.
NEAR = np.array([0.6, 0.8, 0.92, 1.0, 1.08, 1.25, 1.6])
QUANTILES = np.array([0.0, 0.15, 0.5, 0.85, 1.0])
# Cells of the offers (group, price, depth, cap) at once.
CELLS = 1 << 21
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What each device takes: total value, depth, index of the cap, price, units, all (N,).

    Where round times differ, at the end of them that is worth more, by its index.
    """

    total: float
    depth: Ints
    cap: Ints
    price: Floats
    size: Floats
    end: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Devices, their groups, and everything they are offered.

    Parameters
    ----------
    weights : array, shape (N,)
    room, toll, bonus : array, shape (N, L + 1)
        In units, price of a unit per weight, worth of the time per weight.
        Devices lie in the order of their groups.
    order : array of int, shape (N,)
        Which device of the problem each is.
    group : array of int, shape (N,)
        Ascending.
    shares : array, shape (G,)
        Weight of each group.
    price : array, shape (N,)
        Price of a unit that each device settles at with the incumbent ranks.
    ranks, gains, steps, budget
        As in `solver.capped_bound`: rank 0 comes first where ranks are budgeted.
    low : array, shape (N, L + 1), or None
        As `solver.links_sums.Terms.low`.
    """

    weights: Floats
    room: Floats
    toll: Floats
    bonus: Floats
    order: Ints
    group: Ints
    shares: Floats
    price: Floats
    ranks: Floats
    gains: Floats
    steps: Floats
    budget: int | None
    low: Floats | None = None

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
            room=np.empty(0),
            toll=np.empty(0),
            bonus=np.empty(0),
            order=np.arange(len(w)),
            group=np.zeros(len(w), dtype=np.int64),
            shares=np.array([w.sum()]),
            price=np.zeros(len(w)),
            ranks=ranks,
            gains=gains,
            steps=(problem.costs.sizes // own.unit).astype(np.float64),
            budget=budget,
        ).at(own, prices)
        depth, cap, price = alone.rest(incumbent)
        order = np.lexsort((price, cap, depth))
        return replace(
            alone,
            weights=w[order],
            room=alone.room[order],
            toll=alone.toll[order],
            bonus=alone.bonus[order],
            order=order,
            price=price[order],
        ).grouped(GROUPS)

    def grouped(self, number: int) -> Self:
        """The same devices in at most so many groups of about the same weight."""
        passed = np.cumsum(self.weights) / self.weights.sum()
        place = np.minimum((passed * number).astype(np.int64), number - 1)
        group = np.unique(place, return_inverse=True)[1].reshape(-1)
        shares = np.bincount(group, self.weights).astype(np.float64)
        return replace(self, group=group, shares=shares)

    def spread(self, multipliers: Floats, finer: Self) -> Floats:
        """Multipliers of the same devices in finer groups, that sum to zero as these do."""
        first = np.searchsorted(finer.group, np.arange(len(finer.shares)))
        own = multipliers[: len(self.shares)] / self.shares[:, None, None]
        own = own[self.group[first]] * finer.shares[:, None, None]
        server = multipliers[len(self.shares) :]
        # A group may lie across two coarser ones.
        total = own.sum(axis=0) + server.sum(axis=0)
        own -= total * (finer.shares / finer.shares.sum())[:, None, None]
        return np.concatenate([own, server])

    def at(
        self, own: OwnRanks, prices: Prices, ends: tuple[Floats, Floats] | None = None
    ) -> Self:
        """The same devices and groups with other room, tolls and time.

        `ends` are the devices' room at the shortest and the longest round time, (L + 1, N)
        each; without them the room is that of `own` whatever the round time.
        """
        w = own.problem.weights
        room = own.units.astype(np.float64) if ends is None else ends[1]
        return replace(
            self,
            room=room.T[self.order],
            low=None if ends is None else ends[0].T[self.order],
            toll=(own.per_unit(prices) / w).T[self.order],
            bonus=(prices.wait * own.links.count * own.fixed_s() / w).T[self.order],
        )

    def slack(
        self, own: OwnRanks, answers: Answers, prices: Prices, window: Window
    ) -> tuple[Floats, float]:
        """Subgradient of the bound: what the limits leave at the answers.

        Returns
        -------
        tuple of (array of shape (E,), float)
            As `solver.links_shared.PricedRanks.slack`.
        """
        size, depth = np.empty(len(self.order)), np.empty(len(self.order), np.int64)
        size[self.order], depth[self.order] = answers.size, answers.depth
        every, links = np.arange(len(size)), own.links
        own_s = own.fixed_s()[depth, every] + own.unit_s()[depth, every] * size
        busy = links.busy_s(size * own.unit, np.ones(len(size), dtype=np.bool_))
        round_s = prices.round_s(links, window)
        left = np.zeros(len(links.names))
        left[window.kept] = round_s - busy[window.kept]
        count = float(links.count.sum())
        kept_s = float(np.dot(links.count, own_s)) - count * (round_s - (window.epsilon_s or 0))
        return left, kept_s

    def at_rest(self, incumbent: Ints) -> Floats:
        """Multipliers under which every group is content with the incumbent ranks."""
        depth, cap, price = self.rest(incumbent)
        value = self.own_value(depth, cap, price) * self.weights[:, None, None]
        value = np.where(np.isfinite(value), value, 0.0)
        by_group = np.zeros((len(self.shares), *value.shape[1:]))
        np.add.at(by_group, self.group, value)
        share = self.shares / self.shares.sum()
        multipliers = by_group.sum(axis=0) * share[:, None, None] - by_group
        if self.budget is None:
            return np.asarray(multipliers)
        return np.concatenate([multipliers, np.zeros((1, *multipliers.shape[1:]))])

    def answers(
        self,
        multipliers: Floats,
        around: Floats,
        number: int = 0,
        constants: tuple[float, ...] = (0.0,),
    ) -> Answers:
        """Best depth and cap of every device.

        Parameters
        ----------
        multipliers : array, shape (G, L, R), and one more for a budget on the ranks
        around : array, shape (N,)
            Price that each device last settled at.
        number : int
            Prices to try everywhere; 0: only near the last ones. Both bound.
        constants : tuple of float
            What is added to the total, by end of the round times.
        """
        groups = len(self.shares)
        own = multipliers[:groups] / self.shares[:, None, None]
        grid = self._everywhere(number) if number else self._near(around)
        each = grid.shape[1] * self.gains.size
        found: list[list[Taken]] = []
        for block in np.array_split(np.arange(groups), 1 + groups * each // CELLS):
            sums = Sums.of(
                own[block], grid[block], self.gains, self.steps[:, None] * self.ranks
            )
            here = slice(*np.searchsorted(self.group, [block[0], block[-1] + 1]))
            terms = Terms(
                group=self.group[here] - block[0],
                room=self.room[here],
                toll=self.toll[here],
                bonus=self.bonus[here],
                around=around[here],
                low=None if self.low is None else self.low[here],
            )
            found.append(sums.best(terms))
        ends = [
            Taken(*(np.concatenate(part) for part in zip(*end, strict=True)))
            for end in zip(*found, strict=True)
        ]
        totals = [
            float(np.dot(self.weights, end.worth)) + constant
            for end, constant in zip(ends, constants, strict=True)
        ]
        end = int(np.argmax(totals))
        total, taken = totals[end], ends[end]
        if self.budget is not None:
            total += within_budget(multipliers[-1], self.ranks, self.budget)[0]
        rounding = ROUNDING * (float(np.abs(multipliers).max(axis=2).sum()) + abs(total))
        total += rounding - float(multipliers.sum(axis=0).min(axis=1).sum())
        return Answers(
            total=total,
            depth=taken.depth,
            cap=taken.cap,
            price=taken.price,
            size=taken.size,
            end=end,
        )

    def _near(self, last: Floats) -> Floats:
        """Prices of a unit per weight to try for each group near the last, (G, P)."""
        mean = np.bincount(self.group, self.weights * last) / self.shares
        place = self._spread(last, QUANTILES)
        return self._between_tolls(np.concatenate([mean[:, None] * NEAR, place], axis=1))

    def _everywhere(self, number: int) -> Floats:
        """Prices of a unit per weight to try for each group wherever they may be, (G, P)."""
        known = np.isfinite(self.gains[0])
        slopes = np.diff(self.gains[:, known], axis=1, prepend=0.0)
        slopes /= np.diff(self.ranks[known], prepend=0.0) * self.steps[:, None]
        greatest = float(slopes.max()) or 1.0
        least = slopes[slopes > greatest * 1e-5].min(initial=greatest)
        prices = np.append(0.0, np.geomspace(least / 2, greatest, number))
        tolls = self._spread(self.toll.mean(axis=1), np.linspace(0, 1, 7))
        every = np.broadcast_to(prices, (len(tolls), len(prices)))
        return self._between_tolls(np.concatenate([every, tolls], axis=1))

    def _between_tolls(self, prices: Floats) -> Floats:
        """Add the least and the greatest toll of each group; nothing lies below the least."""
        starts = np.searchsorted(self.group, np.arange(len(self.shares)))
        least = np.minimum.reduceat(self.toll.min(axis=1), starts)[:, None]
        most = np.maximum.reduceat(self.toll.max(axis=1), starts)[:, None]
        return np.sort(np.maximum(np.concatenate([prices, most], axis=1), least), axis=1)

    def _spread(self, values: Floats, quantiles: Floats) -> Floats:
        """Quantiles of a figure of the devices in each group, (G, Q)."""
        ordered = values[np.lexsort((values, self.group))]
        starts = np.searchsorted(self.group, np.arange(len(self.shares)))
        sizes = np.bincount(self.group)[:, None]
        return np.asarray(
            ordered[starts[:, None] + np.rint(quantiles * (sizes - 1)).astype(np.int64)]
        )

    def own_value(self, depth: Ints, cap: Ints, price: Floats) -> Floats:
        """Gain less priced size of every rank per weight, cut off at the cap, (N, L, R)."""
        index = np.minimum(np.arange(len(self.ranks)), cap[:, None])
        size = self.steps[:, None] * self.ranks
        gain = np.moveaxis(self.gains[:, index], 0, 1)
        worth = gain - price[:, None, None] * np.moveaxis(size[:, index], 0, 1)
        adapted = np.arange(len(self.steps)) < depth[:, None]
        return np.where(adapted[:, :, None], worth, 0.0)

    def rest(self, incumbent: Ints) -> tuple[Ints, Ints, Floats]:
        """Depth, cap and price of a unit of every device at the incumbent ranks."""
        used, n = int((incumbent > 0).sum()), len(self.weights)
        if used == 0:
            return np.zeros(n, np.int64), np.zeros(n, np.int64), self.toll[:, 0]
        capped = np.minimum(incumbent[:used, None], self.ranks)
        index = np.searchsorted(self.ranks, capped)
        gain = np.cumsum(np.take_along_axis(self.gains[:used], index, axis=1), axis=0)
        size = np.cumsum(capped * self.steps[:used, None], axis=0)
        room, toll = self.room[:, 1 : used + 1, None], self.toll[:, 1 : used + 1, None]
        bonus = self.bonus[:, 1 : used + 1, None]
        net = np.where(size <= room, gain - toll * size + bonus, -np.inf).reshape(n, -1)
        depth, cap = np.divmod(net.argmax(axis=1), len(self.ranks))
        free = np.where(room < 0, -np.inf, gain - toll * size + bonus).reshape(n, -1)
        least = free.max(axis=1)
        price = toll[np.arange(n), free.argmax(axis=1) // len(self.ranks), 0]
        for p in self._everywhere(LAST_PRICES)[0].tolist():
            worth = np.where(p >= toll, (p - toll) * room, np.inf) + bonus
            offer = np.where(np.isneginf(gain), -np.inf, gain - p * size)
            nothing = (room < 0) | np.isneginf(offer)
            most = np.where(nothing, -np.inf, np.where(nothing, 0.0, offer) + worth)
            most = most.max(axis=(1, 2))
            lower = most < least
            least[lower], price[lower] = most[lower], p
        depth = np.where(np.isneginf(net.max(axis=1)), 0, depth + 1)
        return depth, cap, price


def within_budget(own: Floats, ranks: Floats, budget: int) -> tuple[float, Ints]:
    """Best ranks within the budget, itself priced, by the server's multipliers."""
    highest = float(own.max() - own.min()) + 1e-12
    best, taken = np.inf, own.argmax(axis=1)
    for price in (0.0, *np.geomspace(highest * 1e-6, highest, LAST_PRICES).tolist()):
        offer = own - price * ranks
        value = price * budget + float(offer.max(axis=1).sum())
        if value < best:
            best, taken = value, offer.argmax(axis=1)
    return best, taken
