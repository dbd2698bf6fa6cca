"""Ranks of one device at one depth under a few limits: many such knapsacks side by side.

With a_q[l] what a rank of layer l costs of resource q, and b_q what the depth leaves of it,

    max  sum_l gain[l, r_l]   subject to   sum_l a_q[l] r_l <= b_q   for every q.

At prices y_q >= 0 of the resources the layers part, and

    sum_q y_q b_q + sum_l max_r (gain[l, r] - r sum_q y_q a_q[l])

is a bound at any prices. It is lowered one price at a time, each by secants between a price at
which too much is used and one at which not (the dual of the multiple-choice knapsack: Sinha
and Zoltners, Operations Research 27, 1979). Ranks at prices that keep every limit are a
plan; what they leave is filled by single layers, and by one layer less and another more.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from solver.costs.devices import Floats, Ints
from solver.slopes.hulls import Hulls

# Rounds over all prices, secants of one, and a share of a value that is rounding.
SWEEPS, SECANTS, ROUNDING = 2, 16, 1e-12
# Steps along subgradients, as shares of those of Polyak that shrink while nothing gets better.
STEPS, HALF = 60, 0.7
# Changes of ranks, and cells (pair, layer, rank) of those looked at, at once.
CHANGES, CELLS = 64, 1 << 20


class Look(NamedTuple):
    """What prices lead to: indices of ranks (P, L), what these use (Q, P), the bound (P,)."""

    choice: Ints
    used: Floats
    bound: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Knapsacks:
    """P knapsacks.

    Parameters
    ----------
    hulls : Hulls
    slope : array, shape (Q, P, L)
        What a rank costs; 0 beyond the depth.
    room : array, shape (Q, P)
        What there is of it, finite.
    deep : array of bool, shape (P, L)
        Layers within the depth.
    """

    hulls: Hulls
    slope: Floats
    room: Floats
    deep: npt.NDArray[np.bool_]

    def __getitem__(self, where: Ints | npt.NDArray[np.bool_]) -> "Knapsacks":
        return Knapsacks(
            hulls=self.hulls,
            slope=self.slope[:, where],
            room=self.room[:, where],
            deep=self.deep[where],
        )

    def at(self, prices: Floats) -> Look:
        """Look at prices, shape (Q, P)."""
        price = np.einsum("qp,qpl->pl", prices, self.slope)
        choice = self.hulls.best(price)
        gain = self._gains(choice) - price * self.hulls.ranks[choice]
        value = np.where(self.deep, gain, 0.0).sum(axis=1) + (prices * self.room).sum(axis=0)
        return Look(choice, self.used(choice), value + ROUNDING * np.abs(value))

    def used(self, choice: Ints) -> Floats:
        """What ranks use of every resource, shape (Q, P)."""
        return np.asarray(np.einsum("qpl,pl->qp", self.slope, self.hulls.ranks[choice]))

    def gained(self, choice: Ints) -> Floats:
        """What ranks gain, shape (P,)."""
        return np.asarray(np.where(self.deep, self._gains(choice), 0.0).sum(axis=1))

    def keeping(self) -> tuple[Floats, Floats, Ints]:
        """Prices found one at a time, the bound there, and ranks that keep every limit.

        Returns
        -------
        tuple of arrays, shapes (Q, P), (P,) and (P, L)
            The bound is minus infinity where not even the least ranks fit, which are then the
            ranks.
        """
        prices = np.zeros_like(self.room)
        least = self.at(prices).bound
        for _ in range(SWEEPS):
            for q in range(len(prices)):
                prices[q] = 0.0
                self._search(q, prices, least)
        best = prices.copy()
        # Upwards only: what one price brings down no other brings up again.
        for q in range(len(prices)):
            self._search(q, prices, least)
        lowest = self.used(np.zeros(self.deep.shape, dtype=np.int64))
        least[(lowest > self.room).any(axis=0)] = -np.inf
        return best, least, self.at(prices).choice

    def descended(self, prices: Floats, aims: Floats) -> tuple[Floats, Floats]:
        """Lower bounds by subgradients of all prices at once, towards values that are known.

        Parameters
        ----------
        prices : array, shape (Q, P)
            Where to start.
        aims : array, shape (P,)
            No bound is below these.

        Returns
        -------
        tuple of arrays, shapes (Q, P) and (P,)
            The best prices and the bounds there.
        """
        # In units in which a rank costs much the same of every resource.
        unit = np.maximum(self.slope.max(axis=2), 1e-300)
        best, least, stalled = prices, np.full(len(aims), np.inf), np.zeros(len(aims))
        for _ in range(STEPS):
            look = self.at(prices)
            better = look.bound < least
            stalled = np.where(better, 0, stalled + 1)
            best, least = np.where(better, prices, best), np.where(better, look.bound, least)
            left = (self.room - look.used) / unit
            left[(prices == 0) & (left > 0)] = 0.0
            square = (left**2).sum(axis=0)
            length = (look.bound - aims) / np.where(square > 0, square, np.inf)
            prices = np.maximum(prices - length * HALF ** (stalled // 4) * left / unit, 0.0)
        return best, least

    def _search(self, q: int, prices: Floats, least: Floats) -> None:
        """Raise one price where too much is used, as little as it takes; lower the bounds."""
        start = self.at(prices)
        np.minimum(least, start.bound, out=least)
        short = np.flatnonzero(start.used[q] > self.room[q])
        if not len(short):
            return
        part, low = self[short], prices[:, short].copy()
        high = low.copy()
        with np.errstate(divide="ignore", invalid="ignore"):
            each = np.where(part.slope[q] > 0, self.hulls.steepest / part.slope[q], 0.0)
        high[q] += each.max(axis=1)
        under, over = _Line.of(part, q, low), _Line.of(part, q, high)
        least[short] = np.minimum(least[short], over.bound)
        for _ in range(SECANTS):
            gap = under.left - over.left
            open_ = (over.left >= 0) & (gap < 0)
            if not open_.any():
                break
            with np.errstate(divide="ignore", invalid="ignore"):
                there = over.bound - under.bound + under.left * low[q] - over.left * high[q]
                between = np.where(open_, there / gap, high[q])
            between = np.clip(between, low[q], high[q])
            price = high.copy()
            price[q] = between
            middle = _Line.of(part, q, price)
            least[short] = np.minimum(least[short], middle.bound)
            # The lines meet where the true bound lies: nothing below is left to find.
            meet = over.bound + over.left * (between - high[q])
            done = middle.bound <= meet + 4 * ROUNDING * np.abs(meet)
            fits = middle.left >= 0
            high[q] = np.where(fits, between, high[q])
            low[q] = np.where(fits, low[q], between)
            over, under = over.where(fits, middle), under.where(~fits, middle)
            if (done | ~open_).all():
                break
        prices[q, short] = high[q]

    def most_used(self, q: int) -> Floats:
        """What may be used of a resource at most, shape (P,).

        As much of every other one's room as its largest share of that costs.
        """
        most = np.minimum(self.room[q], self.slope[q].sum(axis=1) * self.hulls.ranks[-1])
        for slope, room in zip(self.slope, self.room, strict=True):
            with np.errstate(divide="ignore", invalid="ignore"):
                share = np.where(self.slope[q] > 0, self.slope[q] / slope, 0.0).max(axis=1)
                np.fmin(most, share * np.maximum(room, 0.0), out=most)
        return np.asarray(most)

    def filled(self, choice: Ints, by: int | None = None) -> Ints:
        """Raise single layers as long as one fits, each time by what gains most.

        Parameters
        ----------
        choice : array of int, shape (P, L)
            Ranks that fit.
        by : int or None
            Resource of which as much as possible is used, in place of gaining.
        """
        choice, number = choice.copy(), max(CELLS // max(self.hulls.gains.size, 1), 1)
        for start in range(0, len(choice), number):
            here = choice[start : start + number]
            part, every = self[np.arange(start, start + len(here))], np.arange(len(here))
            for _ in range(CHANGES):
                gain = part.raised(here, by)
                layer, rank = np.divmod(
                    gain.reshape(len(here), -1).argmax(axis=1), gain.shape[2]
                )
                more = gain[every, layer, rank] > 0
                if not more.any():
                    break
                here[every[more], layer[more]] = rank[more]
        return choice

    def raised(self, choice: Ints, by: int | None = None) -> Floats:
        """What every larger rank of a single layer gains, or uses, where it fits; (P, L, R).

        Minus infinity where it does not.
        """
        ranks, gains = self.hulls.ranks, self.hulls.gains
        left = self.room - self.used(choice)
        more = ranks - ranks[choice][:, :, None]
        if by is None:
            gain = gains - self._gains(choice)[:, :, None]
        else:
            gain = self.slope[by][:, :, None] * more
        gain = np.where(more > 0, gain, -np.inf)
        gain[~self.deep] = -np.inf
        for slope, each in zip(self.slope, left, strict=True):
            gain[slope[:, :, None] * more > each[:, None, None]] = -np.inf
        return gain

    def _gains(self, choice: Ints) -> Floats:
        return self.hulls.gains[np.arange(choice.shape[1]), choice]


class _Line(NamedTuple):
    """The bound as a line over one price: its value, and what is left of the resource."""

    bound: Floats
    left: Floats

    @classmethod
    def of(cls, part: Knapsacks, q: int, prices: Floats) -> "_Line":
        look = part.at(prices)
        return cls(look.bound, part.room[q] - look.used[q])

    def where(self, taken: npt.NDArray[np.bool_], other: "_Line") -> "_Line":
        """The other line where it is taken."""
        return _Line(*(np.where(taken, b, a) for a, b in zip(self, other, strict=True)))
