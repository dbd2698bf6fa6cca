"""Minimise a convex function of prices from its values and subgradients.

Every look at the function leaves a plane below it. The next look is where the highest of the
planes is lowest, within a box around the best prices so far, which grows where that succeeds
and shrinks where it does not (boxstep: Marsten, Hogan and Blankenship, Operations Research
23, 1975). A few dozen prices need some fifty looks, also where two of them must rise
together by orders of magnitude, which subgradient steps take hundreds for.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from solver.costs.devices import Floats, Ints
from solver.deadline import expired
from solver.linear import AT_LOWER, BASIC, least

# Planes that are kept, the latest.
PLANES = 120
GROWS, SHRINKS, PATIENCE = 1.5, 0.6, 3
# Relative descent that counts, and that left by the planes at which to stop.
DESCENT, CLOSE = 1e-5, 5e-5


@dataclass(slots=True, kw_only=True)
class Lowest:
    """Where a function was found lowest.

    Parameters
    ----------
    at : array, shape (n,)
    value : float
    looks : list of int
        Which looks make up the model there, heaviest first, by their number.
    """

    at: Floats
    value: float
    looks: list[int] = field(default_factory=list)


def lowest(
    look: Callable[[Floats], tuple[float, Floats]],
    start: Floats,
    radius: Floats,
    *,
    steps: int,
    enough: Callable[[float], bool],
) -> Lowest:
    """Search prices, none below 0, for the least value.

    Parameters
    ----------
    look : callable
        Value and subgradient, shape (n,), at prices; a value of -inf ends the search.
    start, radius : array, shape (n,)
        First prices, and half the sides of the first box.
    steps : int
        Looks at most.
    enough : callable
        Whether a value is low enough.
    """
    best = Lowest(at=start, value=np.inf)
    planes, numbers = Planes.of(len(start)), list[int]()
    at, failed = start, 0
    for number in range(steps):
        value, slope = look(at)
        if value == -np.inf:
            return Lowest(at=at, value=value)
        planes.keep(slice(-PLANES + 1, None))
        planes.add(slope[None], np.array([value - float(slope @ at)]))
        numbers = [*numbers[-PLANES + 1 :], number]
        if best.value == np.inf or value < best.value - DESCENT * abs(best.value):
            radius, failed = radius * (GROWS if number else 1.0), 0
            best.at, best.value = at, value
        else:
            if value < best.value:
                best.at, best.value = at, value
            failed += 1
            if failed == PATIENCE:
                radius, failed = radius * SHRINKS, 0
        if enough(best.value) or expired():
            break
        at, model, weights = planes.lowest(best.at, radius)
        heaviest = np.argsort(-weights, kind="stable")[: np.count_nonzero(weights > 0)]
        best.looks = [numbers[i] for i in heaviest]
        if best.value - model < CLOSE * abs(best.value):
            if not (np.abs(at - best.at) >= radius * (1 - 1e-6)).any():
                break
            radius = radius * 2
    return best


@dataclass(slots=True, kw_only=True)
class Planes:
    """Planes below a function, and where the highest of them is lowest.

    Parameters
    ----------
    slopes : array, shape (m, n)
    offsets : array, shape (m,)
    status : array of int, shape (m,)
        Of each plane in the last program's basis: the next one starts from there.
    columns : array of int, shape (n + 1,)
        Of each price, and of the height.
    """

    slopes: Floats
    offsets: Floats
    status: Ints
    columns: Ints

    @classmethod
    def of(cls, size: int) -> Self:
        """None yet, in so many dimensions."""
        return cls(
            slopes=np.zeros((0, size)),
            offsets=np.zeros(0),
            status=np.zeros(0, dtype=np.int64),
            columns=np.append(np.full(size, AT_LOWER), BASIC),
        )

    def add(self, slopes: Floats, offsets: Floats) -> None:
        """Add planes, of shapes (m, n) and (m,)."""
        self.slopes = np.concatenate([self.slopes, slopes])
        self.offsets = np.concatenate([self.offsets, offsets])
        self.status = np.append(self.status, np.full(len(offsets), BASIC))

    def keep(self, flags: npt.NDArray[np.bool_] | slice) -> None:
        """Drop the other planes."""
        self.slopes, self.offsets = self.slopes[flags], self.offsets[flags]
        self.status = self.status[flags]

    def lowest(self, centre: Floats, radius: Floats) -> tuple[Floats, float, Floats]:
        """Lowest point of the highest plane in a box, its height, and the planes' weights."""
        low, high = np.maximum(centre - radius, 0.0), centre + radius
        number = len(self.offsets)
        found = least(
            np.append(np.zeros(len(centre)), 1.0),
            np.hstack([self.slopes, -np.ones((number, 1))]),
            (np.full(number, -np.inf), -self.offsets),
            (np.append(low, -np.inf), np.append(high, np.inf)),
            (self.columns, self.status),
        )
        self.columns, self.status = found.columns, found.rows
        return np.clip(found.x[:-1], low, high), float(found.x[-1]), -found.dual
