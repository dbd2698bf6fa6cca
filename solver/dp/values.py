"""What the recursion of `solver.dp.tables` is filled into, and the way back through it.

Only the values are kept. The rank taken at a node is found again on the way back, for the few
nodes that lie on the way; filling a table of choices would cost more than the maxima do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from solver.costs.devices import Floats, Ints

# Size of one layer, or of each.
Steps = TypeVar("Steps", int, Ints)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What adapting layer k at prefix sum S and rank r earns beside the gain.

    ``price * (fixed[k, S] + r * per_rank[k, S])``: a Lagrangian price on a quantity that adds
    up over devices and layers.

    Parameters
    ----------
    sums : array, shape (L, 3, S + 1)
        W, `per_rank` and `fixed` side by side: what a layer earns is one product of matrices,
        with gain, rank times the price and the price as factors.
    price : float
    """

    sums: Floats
    price: float = 1.0

    def factors(self, gains: Floats, choices: Ints) -> Floats:
        """What `sums` are multiplied with, by layer and rank, shape (L, R, 3)."""
        factors = np.empty((*gains.shape, 3))
        factors[:, :, 0] = gains
        factors[:, :, 1] = self.price * choices
        factors[:, :, 2] = self.price
        return factors


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Prefix sums worth a look at each depth, ``low[k] <= S <= high[k]``, shape (L + 1,)."""

    low: Ints
    high: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
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

    def lead(self, steps: Steps) -> Steps:
        """How far a rank of 1 leads."""
        return steps * self.width + (self.margin > 0)

    def place(self, prefix: int, rank_sum: int = 0) -> int:
        """Where a node lies."""
        return (self.room + prefix) * self.width + self.margin + rank_sum


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The recursion, filled.

    Parameters
    ----------
    flat : array, shape (K + 1, F)
        V_k by prefix sum and rank sum, flattened, for k = 0 up to the last depth anybody
        reaches. Around both axes lies minus infinity, so that a step too far leads nowhere.
    axes : Axes
        Where (S, B) lies in it.
    strides : array of int, shape (L, R)
        How far a rank of a layer leads in it.
    choices : array of int, shape (R,)
    spacing : int or None
        How far choices lie apart; None where they are not evenly spaced.
    weight : array, shape (L + 1, S + 1)
        W, see `solver.costs.capacity.Capacity`.
    gains : array, shape (L, R)
    earned : sequence of arrays, shape (R, S + 1), or None
        What each layer earns in place of W times its gain and of prices.
    prices : Prices or None
        None where there is `earned`.
    factors : array, shape (L, R, 3)
        Of the sums that are priced; empty where there are no prices.
    stretches : list of tuple of int, length K + 1
        First and last prefix sum that is looked at, by depth.
    """

    flat: Floats
    axes: Axes
    strides: Ints
    choices: Ints
    spacing: int | None
    weight: Floats
    gains: Floats
    earned: Sequence[Floats] | None
    prices: Prices | None
    factors: Floats
    stretches: list[tuple[int, int]]

    @property
    def values(self) -> Floats:
        """V_k by prefix sum and rank sum, shape (K + 1, S + 1, B + 1)."""
        axes = self.axes
        whole = self.flat.reshape(len(self.flat), -1, axes.width)
        return whole[:, axes.room :, axes.margin :]

    def backtrack(self, depth: int, prefix: int, rank_sum: int = 0) -> Ints:
        """Ranks that lead to V_depth(prefix, rank_sum), shape (L,), from the output."""
        return self.path(depth, self.axes.place(prefix, rank_sum))

    def by_prefix(self, flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Whether a flag is set at any rank sum, shape (K + 1, S + 1), from the flat layout."""
        whole = flags.reshape(len(flags), -1, self.axes.width)
        return np.asarray(whole[:, self.axes.room :].any(axis=2))

    def path(self, depth: int, at: int) -> Ints:
        """Ranks that lead to a place of ``flat[depth]``, shape (L,), from the output."""
        taken, axes = [0] * len(self.strides), self.axes
        for k in range(depth - 1, -1, -1):
            carried = at // axes.width - axes.room
            if self.earned is not None:
                earned = self.earned[k][:, carried]
            elif self.prices is not None:
                earned = self.factors[k] @ self.prices.sums[k, :, carried]
            else:
                earned = self.gains[k] * self.weight[k + 1, carried]
            before = at - self.strides[k]
            best = (earned + self.flat[k].take(before)).argmax()
            taken[k], at = int(self.choices[best]), int(before[best])
        return np.array(taken, dtype=np.int64)
