"""The best price of own time, by cutting planes, and the bound that it gives.

Ranks of utility g and own times h, beyond what the wait asks for, are a line ``g + price h``
over the price, and the priced dynamic program is the highest line. Its lowest point is the
Lagrangian bound; lines found so far, in earlier intervals too, say where to look for it
(Kelley, Journal of the SIAM 8, 1960). A path ends at one node, so each node may take the
price that is worst for it: the bound is the largest over the nodes of the least over prices.
"""

from dataclasses import dataclass, field

import numpy as np

from solver.costs.devices import Floats, Ints
from solver.dp.values import Band, Tables
from solver.wait.relax import Relaxed

# Prices of one interval, and rank vectors kept for the next.
MOST_PRICES, POOL = 30, 24
# Stop once the highest line is this close to the lines known, as a share of what is open.
CLOSE = 0.5
# Factor of a price that is too low for anybody to keep the wait.
RISE = 8.0


@dataclass(slots=True, kw_only=True)
class Lines:
    """Rank vectors as lines over the price.

    Parameters
    ----------
    gain, spare_s : list of float
        Utility, and own times beyond those needed.
    ranks : list of array of int, shape (L,)
    """

    gain: list[float] = field(default_factory=list)
    spare_s: list[float] = field(default_factory=list)
    ranks: list[Ints] = field(default_factory=list)

    def add(self, relaxed: Relaxed, rows: list[Ints], needed_s: float) -> None:
        """Add rank vectors that are good for all devices."""
        gains, own_s = relaxed.reached(np.array(rows))
        for gain, each_s, ranks in zip(gains.tolist(), own_s.tolist(), rows, strict=True):
            if gain > -np.inf:
                self.gain.append(gain)
                self.spare_s.append(each_s - needed_s)
                self.ranks.append(ranks)

    def lowest(self) -> tuple[float, float] | None:
        """Price of the lowest point of the highest line, and its height; None if it falls on.

        It falls as long as the highest line is of ranks that wait too long.
        """
        gain, spare_s = np.array(self.gain), np.array(self.spare_s)
        if not (spare_s >= 0).any():
            return None
        at, price = int(np.lexsort((spare_s, gain))[-1]), 0.0
        while spare_s[at] < 0:
            steeper = spare_s > spare_s[at]
            meets = np.full(len(gain), np.inf)
            meets[steeper] = (gain[at] - gain[steeper]) / (spare_s[steeper] - spare_s[at])
            at = int(meets.argmin())
            price = max(price, float(meets[at]))
        return price, float((gain + price * spare_s).max())

    def nearest(self, price: float, *, waits: bool) -> Ints | None:
        """Ranks of the highest line among those that wait too long, or do not."""
        found = [
            (gain + price * spare_s, n)
            for n, (gain, spare_s) in enumerate(zip(self.gain, self.spare_s, strict=True))
            if (spare_s < 0) == waits
        ]
        return self.ranks[max(found)[1]] if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """A bound and where it comes from.

    Parameters
    ----------
    bound : float
        On the utility of all ranks in the band that keep the wait.
    price : float
        The best one, per second of own time.
    table : Tables
        Filled at this price.
    lines : Lines
        Those in the band.
    """

    bound: float
    price: float
    table: Tables
    lines: Lines


def best_price(
    relaxed: Relaxed, needed_s: float, band: Band | None, pool: list[Ints], floor: float
) -> Priced | None:
    """Lower the Lagrangian bound over the prices.

    Parameters
    ----------
    relaxed : Relaxed
    needed_s : float
        Own times that the wait asks for.
    band : Band or None
        Where to look.
    pool : list of array of int
        Rank vectors that were good elsewhere; new ones are added.
    floor : float
        A bound this low is low enough.

    Returns
    -------
    Priced or None
        None where no ranks in the band get all devices to their least depth.
    """
    lines = Lines()
    known = _inside(relaxed, pool, band)
    if known:
        lines.add(relaxed, known, needed_s)
    ends: Floats | None = None
    best: Priced | None = None
    price, lowest, bound = 0.0, np.inf, np.inf
    for _ in range(MOST_PRICES):
        target = lines.lowest() if lines.gain else None
        price = higher(lines, price) if target is None else target[0]
        table = relaxed.priced(price, band)
        values = table.flat[relaxed.problem.question.min_depth :]
        if not values.size:
            return None
        depth, at = divmod(int(values.argmax()), values.shape[1])
        height = float(values[depth, at]) - price * needed_s
        if height == -np.inf:
            return None
        values = values - price * needed_s
        ends = values if ends is None else np.minimum(ends, values, out=ends)
        bound = float(ends.max())
        if height < lowest or best is None:
            lowest = height
            best = Priced(bound=bound, price=price, table=table, lines=lines)
        if bound <= floor:
            break
        ranks = table.path(relaxed.problem.question.min_depth + depth, at)
        pool.append(ranks)
        lines.add(relaxed, [ranks], needed_s)
        if target is not None and height <= target[1] + CLOSE * (bound - floor):
            break
    del pool[:-POOL]
    assert best is not None
    return Priced(bound=bound, price=best.price, table=best.table, lines=lines)


def higher(lines: Lines, price: float) -> float:
    """Next price where all ranks known wait too long; 0 where none are known."""
    if not lines.gain:
        return 0.0
    if price > 0:
        return RISE * price
    return max(*lines.gain, 1e-9) / max(*(-s for s in lines.spare_s), 1e-9)


def _inside(relaxed: Relaxed, pool: list[Ints], band: Band | None) -> list[Ints]:
    """Rank vectors whose prefix sums lie in a band."""
    if band is None or not pool:
        return list(pool)
    rows = np.array(pool)
    prefix = np.cumsum(rows * relaxed.capacity.steps, axis=1)
    holds = (rows == 0) | ((prefix >= band.low[1:]) & (prefix <= band.high[1:]))
    inside = holds.all(axis=1).tolist()
    return [ranks for ranks, held in zip(pool, inside, strict=True) if held]
