"""Mean of updates whose shapes differ: each rank of a layer over the sites that hold it."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["Arrays", "mean_by_holder", "usable"]

Array = npt.NDArray[np.float32]
Arrays = Mapping[str, Array]


def usable(weight: float, arrays: Arrays) -> bool:
    """Whether a site's weight and numbers are such that one site cannot spoil the mean."""
    return 0 < weight < math.inf and all(np.isfinite(a).all() for a in arrays.values())


def mean_by_holder(updates: Sequence[tuple[float, Arrays]], before: Arrays) -> dict[str, Array]:
    """Weighted mean of each entry over the updates that have it.

    An adapter of fewer ranks is the leading rows of A (columns of B), so an entry's place says
    which rank it belongs to. An entry that nobody sent stays as it was before.

    Parameters
    ----------
    updates : sequence of (float, mapping)
        Weight of a site, and its arrays by name. Arrays of one name may differ in size.
    before : mapping of str to array
        The server's arrays.
    """
    names = sorted({*before, *(name for _, arrays in updates for name in arrays)})
    return {name: _mean(name, updates, before.get(name)) for name in names}


def _mean(name: str, updates: Sequence[tuple[float, Arrays]], before: Array | None) -> Array:
    sent = [(weight, arrays[name]) for weight, arrays in updates if name in arrays]
    shapes = [array.shape for _, array in sent] + ([] if before is None else [before.shape])
    whole = tuple(max(sizes) for sizes in zip(*shapes, strict=True))
    total, weights = np.zeros(whole), np.zeros(whole)
    for weight, array in sent:
        place = tuple(slice(size) for size in array.shape)
        total[place] += weight * array.astype(np.float64)
        weights[place] += weight
    kept = np.zeros(whole)
    if before is not None:
        kept[tuple(slice(size) for size in before.shape)] = before
    mean = np.divide(total, weights, out=kept, where=weights > 0)
    return mean.astype(np.float32)
