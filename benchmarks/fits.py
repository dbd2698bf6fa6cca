"""How a quantity grows: the exponent of a power law, fitted to logarithms."""

from collections.abc import Sequence

import numpy as np

__all__ = ["FITTED_FROM", "exponent", "exponents", "fitted_sizes"]

# Below this many devices a pass over them is lost in what every plan costs.
FITTED_FROM = 10**5


def fitted_sizes(sizes: Sequence[float]) -> list[float]:
    """Sizes that a fit is made over: from `FITTED_FROM` up, or all where those are too few."""
    large = [size for size in sizes if size >= FITTED_FROM]
    return large if len(large) > 1 else list(sizes)


def exponent(sizes: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Exponent and factor of ``value = factor * size ** exponent``."""
    slope, start = np.polyfit(np.log(sizes), np.log(values), 1)
    return float(slope), float(np.exp(start))


def exponents(sizes: Sequence[float], values: Sequence[Sequence[float]]) -> list[float]:
    """Exponents of every repetition.

    Parameters
    ----------
    sizes : sequence of float
    values : sequence of sequences of float
        By size, then by repetition.
    """
    return [exponent(sizes, column)[0] for column in zip(*values, strict=True)]
