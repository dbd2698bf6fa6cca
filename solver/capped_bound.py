"""How good capped ranks can be: Lagrangian decomposition, a copy of the ranks per device.

Every group of devices i (`solver.rooms`) gets ranks r^i of its own; that they are all the
same, ``[r^i_j = r] = [r^1_j = r] = ...``, is priced by multipliers u_i[j, r] that sum to zero
over the groups. Group i then answers alone,

    v_i(u) = max over k, c, r  of  w_i sum_{j<=k} gain[j, min(r_j, c)] + sum_j u_i[j, r_j],
             where  sum_{j<=k} s_j min(r_j, c) <= room_i(k),

and sum_i v_i(u) is a bound for any u (Fisher, Management Science 27, 1981). The capacity is
priced in turn, by the best of some prices for each (k, c): what is left falls apart into
layers, and running maxima over the ranks give the answer for all caps at once. The prices are
a coarse grid and a fine one around the price that mattered last. A budget on the sum of the
ranks is one more group, the server.

The multipliers start where the incumbent ranks are at rest: a group that keeps its depth and
cap is paid for any other rank exactly what that costs it, and what all of them win or lose
together is shared out by weight. From there they follow deflected subgradients with Polyak's
step towards the incumbent's value. The bound is as good as the convex hull of each group's
answers; the rest of the gap is what mixing answers would gain.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from solver.devices import Floats, Ints
from solver.problem import Problem
from solver.rooms import Rooms

GAP = 1e-4
# Prices of capacity: on the coarse grid, and in the last look at the best multipliers.
PRICES, LAST_PRICES = 12, 96
# Around the price that mattered last, as a share of it.
NEAR = np.array([0.8, 0.92, 0.97, 0.99, 1.0, 1.01, 1.03, 1.08, 1.25])
# Cells (group, layer, rank, price) in all steps: by work, not by the clock, so that the plan
# is the same on every machine. About 4 s.
WORK, QUICK_WORK = 4e8, 4e7
FEWEST, MOST = 20, 400
PATIENCE, DEFLECTION, SHORTEST_STEP = 20, 0.7, 1e-3
SMALLEST = 1e-12
# Rounding of a sum over layers, relative to the largest terms.
ROUNDING = 1e-13


def lagrangian_bound(
    problem: Problem, rooms: Rooms, incumbent: Ints, value: float, *, thorough: bool
) -> float:
    """Bound the utility of every plan with capped ranks.

    Parameters
    ----------
    problem : Problem
    rooms : Rooms
        Optimistic.
    incumbent : array of int, shape (L,)
        Good shared ranks, from the output.
    value : float
        Utility that the search for a bound aims at.
    thorough : bool
        Whether to spend `WORK`, or a tenth of it.
    """
    split = _Split.of(problem, rooms)
    multipliers = split.at_rest(incumbent)
    cells = multipliers.size * (PRICES + len(NEAR))
    steps = int(np.clip((WORK if thorough else QUICK_WORK) / cells, FEWEST, MOST))
    best, bound, price = split.descend(multipliers, incumbent, value, steps)
    last = split.total(best, split.answers(best, split.prices(LAST_PRICES, price)))
    return min(bound, last)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """What each group takes under some multipliers.

    Parameters
    ----------
    values : array, shape (G,)
    depth, cap : arrays of int, shape (G,)
        Depth, and index of the cap among the ranks.
    price : array, shape (G,)
        Price of the capacity at which the value stands.
    """

    values: Floats
    depth: Ints
    cap: Ints
    price: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class _Split:
    """The problem, one part a group.

    Parameters
    ----------
    weights : array, shape (G,)
    room : array, shape (G, L + 1)
        Capacity by depth; -1 where there is none.
    ranks : array, shape (R,)
        Rank choices; where ranks are budgeted, 0 (nobody adapts the layer) comes first.
    gains : array, shape (L, R)
        Minus infinity at rank 0.
    steps : array, shape (L,)
        Layer sizes in units of the capacity.
    budget : int or None
        Largest sum of the ranks.
    """

    weights: Floats
    room: Floats
    ranks: Floats
    gains: Floats
    steps: Floats
    budget: int | None

    @classmethod
    def of(cls, problem: Problem, rooms: Rooms) -> Self:
        budget = problem.question.budgets.rank_budget
        ranks, gains = problem.ranks.astype(np.float64), problem.gains
        if budget is not None:
            ranks = np.append(0.0, ranks)
            gains = np.pad(gains, ((0, 0), (1, 0)), constant_values=-np.inf)
        return cls(
            weights=rooms.weights,
            room=rooms.room.astype(np.float64),
            ranks=ranks,
            gains=gains,
            steps=rooms.steps.astype(np.float64),
            budget=budget,
        )

    def prices(self, number: int, last: Floats | None = None) -> Floats:
        """Prices of a unit of capacity per weight, shape (G, Q).

        0, `number - 1` from the least to the greatest marginal gain, and some near the last.
        """
        known = np.isfinite(self.gains[0])
        slopes = np.diff(self.gains[:, known], axis=1, prepend=0.0)
        slopes /= np.diff(self.ranks[known], prepend=0.0) * self.steps[:, None]
        greatest = float(slopes.max()) or 1.0
        least = slopes[slopes > greatest * 1e-5].min(initial=greatest)
        coarse = np.append(0.0, np.geomspace(least / 2, greatest, number - 1))
        grid = np.broadcast_to(coarse, (len(self.weights), number))
        return grid if last is None else np.concatenate([grid, last[:, None] * NEAR], axis=1)

    def descend(
        self, multipliers: Floats, incumbent: Ints, value: float, steps: int
    ) -> tuple[Floats, float, Floats]:
        """Follow subgradients; the best multipliers, their bound and prices of capacity."""
        at = np.searchsorted(self.ranks, incumbent)
        best, least, price = multipliers, np.inf, self._rest(incumbent)[2]
        best_price, length, stalled, direction = price, 1.0, 0, None
        for _ in range(steps):
            answers = self.answers(multipliers, self.prices(PRICES, price))
            bound, price = self.total(multipliers, answers), answers.price
            if bound < least:
                best, least, best_price, stalled = multipliers, bound, price, 0
            else:
                stalled += 1
            if least <= value * (1 + GAP) or length < SHORTEST_STEP:
                break
            if stalled == PATIENCE:
                multipliers, direction = best, None
                length, stalled = length / 2, 0
                continue
            taken = self._taken(multipliers, answers, at)
            if not taken.any():
                # All agree: these multipliers are the best.
                break
            direction = (
                taken
                if direction is None
                else DEFLECTION * direction + (1 - DEFLECTION) * taken
            )
            # Deflection may nearly cancel a direction; steps must not grow for that.
            square = max(float((direction**2).sum()), float((taken**2).sum()) / 10)
            multipliers = multipliers - length * (bound - value) / square * direction
        return best, least, best_price

    def total(self, multipliers: Floats, answers: _Answers) -> float:
        """Values of all groups, what is left in the sums of the multipliers, and rounding."""
        total = float(answers.values.sum())
        if self.budget is not None:
            total += self._server(multipliers[-1])[0]
        rounding = ROUNDING * (float(np.abs(multipliers).max(axis=2).sum()) + abs(total))
        return total - float(multipliers.sum(axis=0).min(axis=1).sum()) + rounding

    def answers(self, multipliers: Floats, prices: Floats) -> _Answers:
        """Best depth and cap of every group, its capacity priced."""
        groups, layers = self.room.shape[0], len(self.steps)
        own = multipliers[:groups]
        weights = self.weights[:, None, None]
        # Best rank from the cap on, as every rank there counts as the cap.
        beyond = np.maximum.accumulate(own[:, :, ::-1], axis=2)[:, :, ::-1]
        below, at_cap = weights * self.gains + own, weights * self.gains + beyond
        # Layers below the depth take any rank: their best multipliers.
        free = beyond[:, :, 0]
        rest = np.zeros((groups, layers + 1))
        rest[:, :-1] = np.cumsum(free[:, ::-1], axis=1)[:, ::-1]
        size = self.steps[:, None] * self.ranks
        least = np.full(own.shape, np.inf)
        price = np.zeros(own.shape)
        for unit in prices.T[:, :, None]:
            # Prices are per weight, so that one grid serves all groups.
            worth = weights * unit[:, :, None] * size
            value = np.maximum.accumulate(below - worth, axis=2)
            np.maximum(value, at_cap - worth, out=value)
            np.cumsum(value, axis=1, out=value)
            spare = self.weights[:, None] * unit * self.room[:, 1:] + rest[:, 1:]
            value += spare[:, :, None]
            lower = value < least
            np.copyto(least, value, where=lower)
            np.copyto(price, unit[:, :, None], where=lower)
        least[self.room[:, 1:] < 0] = -np.inf
        flat = least.reshape(groups, -1)
        best = flat.argmax(axis=1)
        depth, cap = np.divmod(best, len(self.ranks))
        every = np.arange(groups)
        values = flat[every, best]
        idle = (self.room[:, 0] >= 0) & (rest[:, 0] >= values)
        return _Answers(
            values=np.where(idle, rest[:, 0], values),
            depth=np.where(idle, 0, depth + 1),
            cap=cap,
            price=price.reshape(groups, -1)[every, best],
        )

    def _taken(self, multipliers: Floats, answers: _Answers, incumbent: Ints) -> Floats:
        """Subgradient: the rank that each group takes, less the mean of all groups.

        Among equals the incumbent's rank is taken.
        """
        groups = len(self.weights)
        value = multipliers.copy()
        value[:groups] += self._own_value(answers.depth, answers.cap, answers.price)
        choice = value.argmax(axis=2)
        if self.budget is not None:
            choice[-1] = self._server(multipliers[-1])[1]
        layer = np.arange(value.shape[1])
        largest = value.max(axis=2)
        slack = SMALLEST * np.maximum(np.abs(largest), 1 / len(value))
        rest = value[:, layer, incumbent] >= largest - slack
        if self.budget is not None:
            rest[-1] = False
        choice = np.where(rest, incumbent, choice)
        taken = np.zeros(value.shape)
        np.put_along_axis(taken, choice[:, :, None], 1.0, axis=2)
        return np.asarray(taken - taken.mean(axis=0))

    def _own_value(self, depth: Ints, cap: Ints, price: Floats) -> Floats:
        """Gain less priced size of every rank, cut off at the cap, shape (G, L, R)."""
        index = np.minimum(np.arange(len(self.ranks)), cap[:, None])
        size = self.steps[:, None] * self.ranks
        gain = np.moveaxis(self.gains[:, index], 0, 1)
        worth = gain - price[:, None, None] * np.moveaxis(size[:, index], 0, 1)
        adapted = np.arange(len(self.steps)) < depth[:, None]
        return self.weights[:, None, None] * np.where(adapted[:, :, None], worth, 0.0)

    def _server(self, own: Floats) -> tuple[float, Ints]:
        """Best ranks within the budget, itself priced, by the server's multipliers."""
        assert self.budget is not None
        highest = float(own.max() - own.min()) + SMALLEST
        best, taken = np.inf, own.argmax(axis=1)
        for price in (0.0, *np.geomspace(highest * 1e-6, highest, LAST_PRICES).tolist()):
            offer = own - price * self.ranks
            value = price * self.budget + float(offer.max(axis=1).sum())
            if value < best:
                best, taken = value, offer.argmax(axis=1)
        return best, taken

    def at_rest(self, incumbent: Ints) -> Floats:
        """Multipliers under which every group is content with the incumbent ranks."""
        depth, cap, price = self._rest(incumbent)
        value = self._own_value(depth, cap, price)
        # A layer that nobody may adapt earns nothing.
        value = np.where(np.isfinite(value), value, 0.0)
        tied = self.room[:, -1] < self.steps.sum() * self.ranks[-1]
        share = np.where(tied | ~tied.any(), self.weights, 0.0)
        together = value.sum(axis=0) * (share / share.sum())[:, None, None]
        multipliers = together - value
        if self.budget is None:
            return np.asarray(multipliers)
        return np.concatenate([multipliers, np.zeros((1, *multipliers.shape[1:]))])

    def _rest(self, incumbent: Ints) -> tuple[Ints, Ints, Floats]:
        """Depth, cap and price of capacity of every group at the incumbent ranks.

        The price is the one at which its best answer costs least: there the group would
        gain no more from capacity than capacity costs.
        """
        used = int((incumbent > 0).sum())
        capped = np.minimum(incumbent[:used, None], self.ranks)
        gain = np.full((len(self.steps), len(self.ranks)), -np.inf)
        size = np.zeros_like(gain)
        index = np.searchsorted(self.ranks, capped)
        gain[:used] = np.cumsum(np.take_along_axis(self.gains[:used], index, axis=1), axis=0)
        size[:used] = np.cumsum(capped * self.steps[:used, None], axis=0)
        room = self.room[:, 1:, None]
        prices = self.prices(LAST_PRICES)[0]
        most = np.stack(
            [
                np.where(room < 0, -np.inf, gain + unit * (room - size)).max(axis=(1, 2))
                for unit in prices.tolist()
            ]
        )
        fitting = np.where(size <= room, gain, -np.inf).reshape(len(self.weights), -1)
        depth, cap = np.divmod(fitting.argmax(axis=1), len(self.ranks))
        depth = np.where(np.isneginf(fitting.max(axis=1)), 0, depth + 1)
        return depth, cap, prices[most.argmin(axis=0)]
