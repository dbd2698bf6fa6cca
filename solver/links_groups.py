"""Groups of devices that share copies of the ranks, and prices of a unit to try for each.

See `solver.links_copies`.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from solver.devices import Floats, Ints

# Around the mean price of the last answers, as a share of it; and quantiles of these.
NEAR = np.array([0.6, 0.8, 0.92, 1.0, 1.08, 1.25, 1.6])
QUANTILES = np.array([0.0, 0.15, 0.5, 0.85, 1.0])


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
    ranks, gains, steps
        As in `solver.capped_bound`: rank 0 comes first where ranks are budgeted.
    """

    weights: Floats
    toll: Floats
    group: Ints
    shares: Floats
    ranks: Floats
    gains: Floats
    steps: Floats

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

    def near(self, last: Floats) -> Floats:
        """Prices of a unit per weight to try for each group near the last, (G, P)."""
        mean = np.bincount(self.group, self.weights * last) / self.shares
        place = self._spread(last, QUANTILES)
        return self._between_tolls(np.concatenate([mean[:, None] * NEAR, place], axis=1))

    def everywhere(self, number: int) -> Floats:
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
