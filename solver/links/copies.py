"""A bound for capped ranks under priced links: a copy of the ranks for groups of devices.

As in `solver.capped.bound`, ranks that are the same for everybody are priced: group g of
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

from solver.costs.devices import Floats, Ints
from solver.links.alike import halved
from solver.links.groups import Groups
from solver.links.own import OwnAtPrices
from solver.links.pool import Prices, Window
from solver.links.sums import Sums, Taken, Terms

GROUPS = 192
# Ranks, at most, by whose worth devices are told apart.
WANTED = 10
LAST_PRICES = 64
# Cells of the offers (group, price, depth, cap) at once.
CELLS = 1 << 18
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
class Copies(Groups):
    """Devices in groups, and everything they are offered; see `solver.links.groups` too.

    Parameters
    ----------
    room, bonus : array, shape (N, L + 1)
        In units, and worth of the time per weight.
    order : array of int, shape (N,)
        Which device of the problem each is.
    price : array, shape (N,)
        Price of a unit that each device settles at with the incumbent ranks.
    budget : int or None
        On the sum of the ranks.
    low : array, shape (N, L + 1), or None
        As `solver.links.sums.Terms.low`.
    """

    room: Floats
    bonus: Floats
    order: Ints
    price: Floats
    budget: int | None
    low: Floats | None = None

    @classmethod
    def of(cls, own: OwnAtPrices, prices: Prices, incumbent: Ints) -> Self:
        """Group the devices by what they want near the incumbent ranks.

        Parameters
        ----------
        own : OwnAtPrices
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
            cuts=np.zeros(0, dtype=np.int64),
            price=np.zeros(len(w)),
            ranks=ranks,
            gains=gains,
            steps=(problem.costs.sizes // own.unit).astype(np.float64),
            budget=budget,
        ).at(own, prices)
        depth, cap, price = alone.rest(incumbent)
        likely = np.unique(np.geomspace(1, len(ranks), WANTED).round().astype(np.int64)) - 1
        wants = alone.own_value(depth, cap, price)[:, :, likely].reshape(len(w), -1)
        order, cuts = halved(np.where(np.isfinite(wants), wants, 0.0), w, GROUPS)
        return replace(
            alone,
            cuts=cuts,
            weights=w[order],
            room=alone.room[order],
            toll=alone.toll[order],
            bonus=alone.bonus[order],
            order=order,
            price=price[order],
        ).grouped(GROUPS)

    def at(
        self, own: OwnAtPrices, prices: Prices, ends: tuple[Floats, Floats] | None = None
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
        self, own: OwnAtPrices, answers: Answers, prices: Prices, window: Window
    ) -> tuple[Floats, float]:
        """Subgradient of the bound: what the limits leave at the answers.

        Returns
        -------
        tuple of (array of shape (E,), float)
            As `solver.links.shared.PricedRanks.slack`.
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
        grid = self.everywhere(number) if number else self.near(around)
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
        for p in self.everywhere(LAST_PRICES)[0].tolist():
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
