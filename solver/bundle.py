"""Minimise a convex function of prices from its values and subgradients.

Every look at the function leaves a plane below it. The next look is where the highest of the
planes is lowest, within a box around the best prices so far, which grows where that succeeds
and shrinks where it does not (boxstep: Marsten, Hogan and Blankenship, Operations Research
23, 1975). A few dozen prices need some fifty looks, also where two of them must rise
together by orders of magnitude, which subgradient steps take hundreds for.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from solver.deadline import expired
from solver.devices import Floats

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
    planes: list[tuple[Floats, float, int]] = []
    at, failed = start, 0
    for number in range(steps):
        value, slope = look(at)
        if value == -np.inf:
            return Lowest(at=at, value=value)
        planes = [*planes[-PLANES + 1 :], (slope, value - float(slope @ at), number)]
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
        at, model, weights = below(planes, best.at, radius)
        heaviest = np.argsort(-weights, kind="stable")[: np.count_nonzero(weights > 0)]
        best.looks = [planes[i][2] for i in heaviest]
        if best.value - model < CLOSE * abs(best.value):
            if not (np.abs(at - best.at) >= radius * (1 - 1e-6)).any():
                break
            radius = radius * 2
    return best


def below(
    planes: list[tuple[Floats, float, int]], centre: Floats, radius: Floats
) -> tuple[Floats, float, Floats]:
    """Lowest point of the highest plane in a box, its height, and the planes' weights."""
    from scipy.optimize import linprog

    solve: Any = linprog
    slopes = np.array([slope for slope, _, _ in planes])
    offsets = np.array([offset for _, offset, _ in planes])
    low, high = np.maximum(centre - radius, 0.0), centre + radius
    answer = solve(
        np.append(np.zeros(len(centre)), 1.0),
        A_ub=np.hstack([slopes, -np.ones((len(planes), 1))]),
        b_ub=-offsets,
        bounds=[*zip(low.tolist(), high.tolist(), strict=True), (None, None)],
        method="highs",
    )
    if answer.status != 0:
        raise ArithmeticError(f"linear program over planes: {answer.message}")
    return np.clip(answer.x[:-1], low, high), float(answer.x[-1]), -answer.ineqlin.marginals
