"""From a mix of options to one option a device where links and a mean wait bind at once.

`solver.links.round` lowers options until links are kept and raises others until nobody waits
too long; where both are tight it gets stuck, as what helps one hurts the other. Here both are
priced. With the linear program's prices a choice is worth the program's value less

    sum_i (what device i's option loses) + sum_e price_e left_e + price spare

with what it leaves of every limit, so the best choice loses little and leaves little. From the
largest shares on, single devices are changed, and two at once, while that lessens the sum; a
limit that is passed counts several times over, and ever more.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from solver.costs.devices import Floats, Ints
from solver.costs.resource import TOLERANCE
from solver.links.graph import Links
from solver.links.mix import Mix
from solver.links.packed import packed
from solver.links.pool import Pool, Window

# What a second too much costs, in prices, at first and at most, and how it grows.
STRICT, STRICTEST, STRICTER = 1.5, 200.0, 3.0
# Options that are paired, and changes in all.
PAIRED, MORE, CHANGES = 64, 200, 1000
SMALLEST = 1e-9


def settled(pool: Pool, links: Links, window: Window, mix: Mix, round_s: float) -> Ints | None:
    """Choose an option a device, shape (N,), for one round time; None where none is found.

    Parameters
    ----------
    pool : Pool
    links : Links
    window : Window
    mix : Mix
        Optimum of the linear program.
    round_s : float
    """
    work = _Settling.of(pool, links, window, mix, round_s)
    return None if work is None else work.run()


@dataclass(slots=True, kw_only=True)
class _Settling:
    """A choice under way.

    Parameters
    ----------
    loss : array, shape (N, O)
        What an option loses to the device's best at the prices; infinite if not allowed.
    uses : array, shape (N, O, W)
        Seconds of the links on a device's way that an option takes, then minus its own time.
    limit : array of int, shape (N, W)
        Which limits these are: links, then the wait, then one that never binds.
    price, dear : array, shape (E + 2,)
        What a second left of a limit costs, and what one too much does, before `strict`.
    chosen : array of int, shape (N,)
    left : array, shape (E + 2,)
        What is left of every limit.
    """

    loss: Floats
    uses: Floats
    limit: Ints
    price: Floats
    dear: Floats
    chosen: Ints
    left: Floats
    strict: float = STRICT

    @classmethod
    def of(
        cls, pool: Pool, links: Links, window: Window, mix: Mix, round_s: float
    ) -> Self | None:
        """Start from what is best behind every link that is the first on its way."""
        kept, count = window.kept, float(links.count.sum())
        allowed = np.isfinite(pool.value) & (pool.seconds <= round_s * (1 + TOLERANCE))
        net = np.where(allowed, pool.tilted(links, mix.prices), -np.inf)
        most = net.max(axis=1, keepdims=True)
        if np.isneginf(most).any():
            return None
        loss = np.where(allowed, most - net, np.inf)
        chosen = packed(pool, links, window, mix.prices, loss, round_s)
        limit, uses = _uses(pool, links, kept)
        price = np.concatenate([mix.prices.links[kept], [mix.prices.wait * count, 0.0]])
        room_s = round_s * (1 + TOLERANCE) - links.bare_s[kept]
        left = np.concatenate([room_s, [(window.epsilon_s or 0.0) - round_s, np.inf]])
        used = uses[np.arange(len(chosen)), chosen]
        left = left - np.bincount(limit.ravel(), used.ravel(), minlength=len(left))
        # A limit with a small price is a limit too.
        dear = np.maximum(price, price.sum() / max(np.count_nonzero(price), 1))
        return cls(
            loss=loss, uses=uses, limit=limit, price=price, dear=dear, chosen=chosen, left=left
        )

    def run(self) -> Ints | None:
        """Change devices until every limit is kept and nothing better is near."""
        for _ in range(CHANGES):
            if self._single() or self._pair(PAIRED):
                continue
            if (self.left >= 0).all():
                return self.chosen
            if self.strict > STRICT and self._pair(MORE):
                continue
            self.strict *= STRICTER
            if self.strict > STRICTEST:
                return None
        return self.chosen if (self.left >= 0).all() else None

    def _cost(self, left: Floats, limit: Ints | slice) -> Floats:
        """What limits with so much left cost."""
        over = self.strict * self.dear[limit]
        with np.errstate(invalid="ignore"):
            cost: Floats = np.where(left >= 0, self.price[limit] * left, -over * left)
        # Nothing is left over of what never binds.
        cost[~np.isfinite(cost)] = 0.0
        return cost

    def _changes(self) -> Floats:
        """How every option changes the sum, shape (N, O)."""
        every = np.arange(len(self.chosen))
        more = self.uses - self.uses[every, self.chosen][:, None]
        now = self.left[self.limit]
        before = self._cost(now, self.limit).sum(axis=1)
        after = self._cost(now[:, None] - more, self.limit[:, None].repeat(more.shape[1], 1))
        lost = self.loss - self.loss[every, self.chosen][:, None]
        return np.asarray(lost + after.sum(axis=2) - before[:, None])

    def _single(self) -> bool:
        change = self._changes()
        at = int(change.argmin())
        if change.flat[at] >= -SMALLEST * self._scale():
            return False
        self._take(at // change.shape[1], at % change.shape[1])
        return True

    def _pair(self, number: int) -> bool:
        every = np.arange(len(self.chosen))
        lost = self.loss - self.loss[every, self.chosen][:, None]
        options = lost.shape[1]
        lost[every, self.chosen] = np.inf
        change = np.where(np.isfinite(lost), self._changes(), np.inf)
        order = np.concatenate(
            [np.argsort(t, axis=None, kind="stable")[:number] for t in (lost, change)]
        )
        order = np.unique(order[np.isfinite(lost.flat[order])])
        if not len(order):
            return False
        who, option = order // options, order % options
        more = np.zeros((len(order), len(self.left)))
        added = self.uses[who, option] - self.uses[who, self.chosen[who]]
        np.add.at(more, (np.arange(len(order))[:, None], self.limit[who]), added)
        used = np.flatnonzero(np.abs(more).any(axis=0))
        more, left = more[:, used], self.left[used]
        # What is left costs its price whatever its sign, and what is passed so much more: in
        # products of matrices, as this is looked at thousands of times.
        price, dearer = self.price[used], self.strict * self.dear[used] + self.price[used]
        passed = (more - left)[:, None] + more[None, :]
        np.maximum(passed, 0.0, out=passed)
        alone = lost.flat[order] - more @ price
        total = alone[:, None] + alone[None, :] + passed @ dearer
        total[who[:, None] == who[None, :]] = np.inf
        total -= float(np.maximum(-left, 0.0) @ dearer)
        at = int(total.argmin())
        if total.flat[at] >= -SMALLEST * self._scale():
            return False
        for one in divmod(at, len(order)):
            self._take(int(who[one]), int(option[one]))
        return True

    def _scale(self) -> float:
        return float(np.abs(self.price).sum())

    def _take(self, device: int, option: int) -> None:
        more = self.uses[device, option] - self.uses[device, self.chosen[device]]
        np.subtract.at(self.left, self.limit[device], more)
        self.chosen[device] = option


def _uses(pool: Pool, links: Links, kept: Ints) -> tuple[Ints, Floats]:
    """Limits on every device's way, (N, W), and what its options take of them, (N, O, W)."""
    number, count = len(kept), float(links.count.sum())
    above = np.concatenate([links.above[:, kept], np.zeros((1, number), dtype=np.bool_)])
    paths = above[links.own]
    width = int(paths.sum(axis=1).max(initial=0))
    limit = np.full((len(paths), width + 1), number + 1)
    for i, path in enumerate(paths):
        on = np.flatnonzero(path)
        limit[i, : len(on)] = on
    limit[:, width] = number
    slope = np.append(links.s_per_parameter[kept], [0.0, 0.0])[limit]
    uses = links.count[:, None, None] * pool.parameters[:, :, None] * slope[:, None, :]
    uses[:, :, width] = -links.count[:, None] * pool.seconds / count
    return limit, uses
