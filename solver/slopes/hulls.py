"""What a layer gains by its rank, from above: a concave hull, and its best rank at a price."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from solver.costs.devices import Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Hulls:
    """The concave hull of every layer's gains over the rank.

    Parameters
    ----------
    gains : array, shape (L, R)
    ranks : array, shape (R,)
    steepest : array, shape (L,)
        Gain of a rank more at the least rank, along the hull.
    key : array
        Falling slopes of all hulls as one rising array: those of layer l lie between 2 l - 1
        and 2 l, as shares of the steepest of all.
    first : array of int, shape (L,)
        Where in it those of a layer begin.
    vertex : array of int
        Index of the rank that each slope begins at, and of the layer's last one after them.
    """

    gains: Floats
    ranks: Floats
    steepest: Floats
    key: Floats
    first: Ints
    vertex: Ints

    @classmethod
    def of(cls, gains: Floats, ranks: Ints) -> Self:
        """Find the hulls; gains must not fall with the rank."""
        layers, whole = [], ranks.astype(np.float64)
        for row in gains:
            kept: list[int] = []
            for at in range(len(ranks)):
                while len(kept) > 1 and _below(whole, row, kept[-2], kept[-1], at):
                    kept.pop()
                kept.append(at)
            layers.append(np.array(kept))
        slopes = [
            np.diff(row[kept]) / np.diff(whole[kept])
            for row, kept in zip(gains, layers, strict=True)
        ]
        most = max((float(s.max(initial=0.0)) for s in slopes), default=0.0) or 1.0
        # A slope that no price reaches ends each layer, so that keys and vertices go together.
        keys = [np.append(2 * n - s / most, 2.0 * n) for n, s in enumerate(slopes)]
        sizes = np.array([len(kept) for kept in layers])
        return cls(
            gains=gains,
            ranks=whole,
            steepest=np.array([s.max(initial=0.0) for s in slopes]),
            key=np.concatenate(keys),
            first=np.cumsum(sizes) - sizes,
            vertex=np.concatenate(layers),
        )

    def best(self, price: Floats) -> Ints:
        """Index of the best rank of every layer at a price of a rank, both (P, L)."""
        layer, most = 2.0 * np.arange(len(self.first)), float(self.steepest.max()) or 1.0
        # Slopes above the price are climbed, one that equals it is not.
        at = np.searchsorted(self.key, layer - np.minimum(price / most, 1.0))
        return np.asarray(self.vertex[at])


def _below(x: Floats, y: Floats, one: int, middle: int, other: int) -> bool:
    """Whether a point lies on or below the line between its neighbours."""
    over = (y[middle] - y[one]) * (x[other] - x[one])
    return bool(over <= (y[other] - y[one]) * (x[middle] - x[one]))
