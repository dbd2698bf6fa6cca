"""Ranks that looks at a part came upon, as planes over the prices of links and wait.

What ranks earn falls with the prices by what they leave of the links and of the wait, and the
bound lies on the highest of these planes. It is lowest where that is (`solver.bundle`), and the
planes that meet there are the ranks whose mix it is.
"""

from dataclasses import dataclass, field

import numpy as np

from solver.bundle import Planes
from solver.costs.devices import Floats, Ints
from solver.links.band import Plane
from solver.links.part import Line
from solver.links.pool import Window
from solver.links.search import Search


@dataclass(slots=True, kw_only=True)
class Lines:
    """Lines of a part, and their planes.

    Parameters
    ----------
    search : Search
        Knows the part's round times and what prices mean.
    planes : Planes
        Two for each line: with any ranks goes any round time, so one for either end.
    known : list of Line
    """

    search: Search
    planes: Planes
    known: list[Line] = field(default_factory=list)

    def add(self, lines: list[Line]) -> None:
        """Add lines."""
        window = self.search.window
        self.known += lines
        self.planes.add(
            np.array([line.slope(window, s) for line in lines for s in _ends(window)]),
            np.repeat([line.gain for line in lines], 2),
        )

    def teach(self, plane: Plane, value: float, at: Floats) -> None:
        """Add the line of a look's answer; drop those that promise more than is there.

        Parameters
        ----------
        plane : Plane
            The answer.
        value : float
            The bound there.
        at : array
            Prices of the look, as `Search.vector` has them.
        """
        search, window = self.search, self.search.window
        prices, count = search.prices_at(at), float(search.links.count.sum())
        round_s = prices.round_s(search.links, window)
        # What comes from around may be more than is possible here.
        heights = (self.planes.slopes @ at + self.planes.offsets).reshape(-1, 2)
        kept = heights[:, _ends(window).index(round_s)] <= value
        self.planes.keep(kept.repeat(2))
        self.known = [line for line, keep in zip(self.known, kept, strict=True) if keep]
        worth = float(prices.links @ plane.left_s) + prices.wait * plane.spare_s
        self.add(
            [
                Line(
                    ranks=plane.ranks,
                    gain=plane.value - worth,
                    busy_s=round_s - plane.left_s,
                    own_s=plane.spare_s / count + round_s - (window.epsilon_s or 0.0),
                )
            ]
        )

    def lowest(
        self, centre: Floats, radius: Floats
    ) -> tuple[Floats, float, list[tuple[Ints, float]]]:
        """Where the planes are lowest near the best prices, how low, and what they mix."""
        at, height, weights = self.planes.lowest(centre, radius)
        weights = weights.reshape(-1, 2).sum(axis=1)
        heavy = np.argsort(-weights, kind="stable")[: np.count_nonzero(weights > 0)]
        return at, height, [(self.known[i].ranks, float(weights[i])) for i in heavy]


def _ends(window: Window) -> tuple[float, float]:
    return window.low_s, window.high_s
