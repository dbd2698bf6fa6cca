"""Groups of devices that share copies of the ranks, and prices of a unit to try for each.

See `solver.links.copies`.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from solver.costs.devices import Floats, Ints

# Around the mean price of a group's last answers, as a share of it; quantiles of these; and
# shares of the greatest price, as from a price near 0, or from one of another round time, no
# share of it leads far enough.
NEAR, QUANTILES = np.array([0.8, 1.25]), np.array([0.0, 0.5, 1.0])
FAR = np.append(0.0, np.geomspace(1e-4, 1e-1, 6))


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Devices in the order of their groups.

    Parameters
    ----------
    weights : array, shape (N,)
    toll : array, shape (N, L + 1)
        Price of a unit per weight.
    group : array of int, shape (N,)
        Ascending.
    shares : array, shape (G,)
        Weight of each group.
    cuts : array of int
        Where groups may begin, those that tell most first.
    ranks, gains, steps
        As in `solver.capped.bound`: rank 0 comes first where ranks are budgeted.
    """

    weights: Floats
    toll: Floats
    group: Ints
    shares: Floats
    cuts: Ints
    ranks: Floats
    gains: Floats
    steps: Floats

    def grouped(self, number: int) -> Self:
        """The same devices in at most so many groups, each within one of fewer groups."""
        first = np.zeros(len(self.weights), dtype=np.int64)
        first[self.cuts[: number - 1]] = 1
        group = np.cumsum(first)
        shares = np.bincount(group, self.weights).astype(np.float64)
        return replace(self, group=group, shares=shares)

    def spread(self, multipliers: Floats, finer: Self) -> Floats:
        """Multipliers of the same devices in finer groups, that sum to zero as these do."""
        first = np.searchsorted(finer.group, np.arange(len(finer.shares)))
        own = multipliers[: len(self.shares)] / self.shares[:, None, None]
        own = own[self.group[first]] * finer.shares[:, None, None]
        return np.concatenate([own, multipliers[len(self.shares) :]])

    def near(self, last: Floats) -> Floats:
        """Prices of a unit per weight to try for each group near the last, (G, P)."""
        mean = np.bincount(self.group, self.weights * last) / self.shares
        far = np.tile(self._slopes().max() * FAR, (len(mean), 1))
        prices = [mean[:, None] * NEAR, self._spread(last, QUANTILES), far]
        return self._between_tolls(np.concatenate(prices, axis=1))

    def everywhere(self, number: int) -> Floats:
        """Prices of a unit per weight to try for each group wherever they may be, (G, P)."""
        slopes = self._slopes()
        greatest = float(slopes.max()) or 1.0
        least = slopes[slopes > greatest * 1e-5].min(initial=greatest)
        prices = np.append(0.0, np.geomspace(least / 2, greatest, number))
        tolls = self._spread(self.toll.mean(axis=1), np.linspace(0, 1, 7))
        every = np.broadcast_to(prices, (len(tolls), len(prices)))
        return self._between_tolls(np.concatenate([every, tolls], axis=1))

    def _slopes(self) -> Floats:
        """Gain of a unit more, by layer and rank."""
        known = np.isfinite(self.gains[0])
        slopes = np.diff(self.gains[:, known], axis=1, prepend=0.0)
        return np.asarray(
            slopes / (np.diff(self.ranks[known], prepend=0.0) * self.steps[:, None])
        )

    def _between_tolls(self, prices: Floats) -> Floats:
        """Add the least and the greatest toll of each group; nothing lies below the least."""
        starts = np.searchsorted(self.group, np.arange(len(self.shares)))
        least = np.minimum.reduceat(self.toll.min(axis=1), starts)[:, None]
        most = np.maximum.reduceat(self.toll.max(axis=1), starts)[:, None]
        every = np.concatenate([least, np.maximum(prices, least), most], axis=1)
        return np.sort(every, axis=1)

    def _spread(self, values: Floats, quantiles: Floats) -> Floats:
        """Quantiles of a figure of the devices in each group, (G, Q)."""
        ordered = values[np.lexsort((values, self.group))]
        starts = np.searchsorted(self.group, np.arange(len(self.shares)))
        sizes = np.bincount(self.group)[:, None]
        return np.asarray(
            ordered[starts[:, None] + np.rint(quantiles * (sizes - 1)).astype(np.int64)]
        )
