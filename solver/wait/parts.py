"""Parts of the search of `solver.wait.search`, and how one is cut in two."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from solver.dp.values import Band, Tables
from solver.wait.price import Priced
from solver.wait.relax import Relaxed


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Round times from `start_s` to `end_s`, prefix sums in a band; all there is if None."""

    start_s: float
    end_s: float
    band: Band | None = None


def halves(part: Part) -> list[Part]:
    """Halve the round times of a part."""
    middle_s = (part.start_s + part.end_s) / 2
    return [replace(part, end_s=middle_s), replace(part, start_s=middle_s)]


def alive_band(table: Tables, nodes: npt.NDArray[np.bool_]) -> Band:
    """First and last prefix sum that is alive by depth, from flags in the flat layout."""
    alive, layers = table.by_prefix(nodes), len(table.strides)
    depths, some = len(alive), alive.any(axis=1)
    low, high = np.ones(layers + 1, dtype=np.int64), np.zeros(layers + 1, dtype=np.int64)
    low[:depths] = np.where(some, alive.argmax(axis=1), 1)
    last = alive.shape[1] - 1 - alive[:, ::-1].argmax(axis=1)
    high[:depths] = np.where(some, last, 0)
    return Band(low=low, high=high)


def cut_band(relaxed: Relaxed, part: Part, priced: Priced) -> list[Part] | None:
    """Part the two paths that the bound mixes, where they lie farthest apart."""
    lines, band = priced.lines, part.band
    waits = lines.nearest(priced.price, waits=True)
    keeps = lines.nearest(priced.price, waits=False)
    if waits is None or keeps is None or band is None:
        return None
    steps = relaxed.capacity.steps
    one, other = np.cumsum(waits * steps), np.cumsum(keeps * steps)
    apart = np.abs(one - other) * (waits > 0) * (keeps > 0)
    at = int(apart.argmax())
    if apart[at] == 0:
        return None
    low, high = band.low.copy(), band.high.copy()
    high[at + 1] = (one[at] + other[at]) // 2
    low[at + 1] = high[at + 1] + 1
    below, above = replace(band, high=high), replace(band, low=low)
    return [replace(part, band=below), replace(part, band=above)]
