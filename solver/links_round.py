"""From a mix of options to one option a device that keeps every link and the mean wait.

The linear program of `solver.links_pool` splits no more devices than there are limits that
bind. They are rounded; where that passes a link, the options that lose least per byte are
lowered; where devices then wait too long, those are raised that lose least per second; and
last, single moves and exchanges of two devices behind one link fill what is left.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from solver.capacity import TOLERANCE
from solver.devices import Floats, Ints
from solver.links import Links
from solver.links_mix import Mix
from solver.links_packed import packings
from solver.links_pool import Pool, Window

# Moves behind one link that are paired, pairs that are tried, and rounds of exchanges.
MOVES, PAIRS, EXCHANGES = 160, 40, 40
# Relative gain below which a move is rounding.
SMALLEST = 1e-12


def rounded(pool: Pool, links: Links, window: Window, mix: Mix) -> Ints | None:
    """Choose an option a device, shape (N,), within `window.high_s`; None where none is found.

    Parameters
    ----------
    pool : Pool
    links : Links
    window : Window
        The round is to take no longer than `high_s`, whatever `low_s`.
    mix : Mix
        Optimum of the linear program.
    """
    work = _Rounding.of(pool, links, window, mix)
    return work.chosen if work.finish() else None


def best_packed(pool: Pool, links: Links, window: Window, mix: Mix) -> Ints | None:
    """Choose as `rounded` does, but from what is best behind every link that is the first.

    See there for the parameters. The choices of `solver.links_packed` take a round of their
    own, at most `high_s` long.
    """
    best, most = None, -np.inf
    for chosen, round_s in packings(pool, links, window, mix):
        own = replace(window, high_s=min(round_s, window.high_s))
        work = _Rounding.of(pool, links, own, mix, chosen)
        if work.finish() and work.worth() > most:
            best, most = work.chosen, work.worth()
    return best


def longest(pool: Pool, links: Links, window: Window, mix: Mix) -> Ints | None:
    """Choose options that keep the links and take the devices as long as can be.

    See `rounded` for the parameters; whether the wait is kept does not matter.
    """
    work = _Rounding.of(pool, links, window, mix)
    if not work.lower():
        return None
    work.lengthen()
    return work.chosen


@dataclass(slots=True, kw_only=True)
class _Rounding:
    """A choice under way.

    Parameters
    ----------
    value, size, own_s : array, shape (N, O)
        Utility, counted LoRA parameters and counted time of an option.
    net : array, shape (N, O)
        Utility less tolls: what a move loses by is read off this.
    allowed : array of bool, shape (N, O)
    paths : array of bool, shape (N, E)
        Kept links that a device's bytes pass.
    slope : array, shape (E,)
        Busy seconds of a LoRA parameter on a kept link.
    chosen : array of int, shape (N,)
    left_s : array, shape (E,)
        Time left on a kept link.
    spare_s : float
        Own time of all devices beyond what the wait asks for; infinite without a wait.
    """

    value: Floats
    size: Floats
    own_s: Floats
    net: Floats
    allowed: npt.NDArray[np.bool_]
    paths: npt.NDArray[np.bool_]
    slope: Floats
    chosen: Ints
    left_s: Floats
    spare_s: float

    @classmethod
    def of(
        cls, pool: Pool, links: Links, window: Window, mix: Mix, chosen: Ints | None = None
    ) -> Self:
        """Start from the largest share of every device, or from a choice."""
        limit_s, kept = window.high_s, window.kept
        allowed = np.isfinite(pool.value) & (pool.seconds <= limit_s * (1 + TOLERANCE))
        net = np.where(allowed, pool.tilted(links, mix.prices), -np.inf)
        chosen = _largest(mix, allowed, net) if chosen is None else chosen.copy()
        every = np.arange(len(chosen))
        above = np.concatenate([links.above[:, kept], np.zeros((1, len(kept)), dtype=np.bool_)])
        paths = above[links.own]
        size = links.count[:, None] * pool.parameters
        slope = links.s_per_parameter[kept]
        own_s = links.count[:, None] * pool.seconds
        spare_s = np.inf
        if window.epsilon_s is not None:
            needed_s = float(links.count.sum()) * (limit_s - window.epsilon_s)
            spare_s = float(own_s[every, chosen].sum()) - needed_s
        busy_s = links.bare_s[kept] + slope * (size[every, chosen] @ paths)
        return cls(
            value=pool.value,
            size=size,
            own_s=own_s,
            net=net,
            allowed=allowed,
            paths=paths,
            slope=slope,
            chosen=chosen,
            left_s=limit_s * (1 + TOLERANCE) - busy_s,
            spare_s=spare_s,
        )

    def finish(self) -> bool:
        """Keep every limit, and fill what is left; whether that is so."""
        if not (self.lower() and self.lengthen()):
            return False
        self.fill()
        return True

    def worth(self) -> float:
        """Utility of the choice."""
        return float(self.value[np.arange(len(self.chosen)), self.chosen].sum())

    def lower(self) -> bool:
        """Lower options until every link is within its time; whether it is."""
        for _ in range(self.value.size):
            if not (self.left_s < 0).any():
                return True
            worst = int(self.left_s.argmin())
            behind = np.flatnonzero(self.paths[:, worst])
            _, freed, _, lost = self._moves(behind)
            freed = -freed * self.slope[worst]
            useful = np.minimum(freed, -self.left_s[worst])
            rate = np.where(
                freed > 0, np.maximum(lost, 0.0) / np.maximum(useful, 1e-300), np.inf
            )
            at = int(rate.argmin())
            if not np.isfinite(rate.flat[at]):
                return False
            self._take(int(behind[at // rate.shape[1]]), at % rate.shape[1])
        return False

    def lengthen(self) -> bool:
        """Raise options until nobody waits too long; whether that is so."""
        everybody = np.arange(len(self.chosen))
        for _ in range(self.value.size):
            if self.spare_s >= -TOLERANCE * abs(self.own_s.sum(axis=0).max(initial=0.0)):
                return True
            _, size, longer, lost = self._moves(everybody)
            useful = np.minimum(longer, -self.spare_s)
            fits = (longer > 0) & (size <= self._room()[:, None])
            rate = np.where(fits, np.maximum(lost, 0.0) / np.maximum(useful, 1e-300), np.inf)
            at = int(rate.argmin())
            if not np.isfinite(rate.flat[at]):
                return False
            self._take(at // rate.shape[1], at % rate.shape[1])
        return False

    def fill(self) -> None:
        """Take moves, and exchanges behind one link, that gain utility."""
        self._raise()
        groups = [np.flatnonzero(self.paths[:, e]) for e in range(len(self.slope))]
        for e, behind in enumerate(groups):
            for _ in range(EXCHANGES):
                if not self._exchange(e, behind):
                    break
        self._raise()

    def _raise(self) -> None:
        everybody = np.arange(len(self.chosen))
        least = SMALLEST * float(np.abs(self.value[np.isfinite(self.value)]).max(initial=0.0))
        for _ in range(self.value.size):
            gain, size, longer, _ = self._moves(everybody)
            fits = (size <= self._room()[:, None]) & (longer >= -max(self.spare_s, 0.0))
            gain = np.where(fits, gain, -np.inf)
            at = int(gain.argmax())
            if gain.flat[at] <= least:
                return
            self._take(at // gain.shape[1], at % gain.shape[1])

    def _exchange(self, link: int, behind: Ints) -> bool:
        """Move two devices behind a link, one up and one down; whether that was possible."""
        gain, size, longer, lost = self._moves(behind)
        order = np.argsort(np.where(np.isfinite(gain), lost, np.inf), axis=None)[:MOVES]
        order = order[np.isfinite(gain.flat[order]) & (gain.flat[order] != 0)]
        who, option = np.divmod(order, gain.shape[1])
        gain, size, longer = gain.flat[order], size.flat[order], longer.flat[order]
        both = gain[:, None] + gain[None, :]
        together = (size[:, None] + size[None, :]) * self.slope[link]
        good = (who[:, None] < who[None, :]) & (together <= self.left_s[link])
        good &= longer[:, None] + longer[None, :] >= -max(self.spare_s, 0.0)
        least = SMALLEST * float(np.abs(gain).max(initial=0.0))
        both = np.where(good & (both > least), both, -np.inf)
        flat = np.argsort(-both, axis=None, kind="stable")[:PAIRS]
        for pair in flat[np.isfinite(both.flat[flat])].tolist():
            a, b = divmod(pair, len(order))
            moved = self.paths[behind[who[a]]] * size[a] + self.paths[behind[who[b]]] * size[b]
            if (moved * self.slope <= self.left_s).all():
                self._take(int(behind[who[a]]), int(option[a]))
                self._take(int(behind[who[b]]), int(option[b]))
                return True
        return False

    def _moves(self, devices: Ints) -> tuple[Floats, Floats, Floats, Floats]:
        """Gain, counted parameters, counted time and net loss of every option, (n, O).

        What is not allowed gains -inf and loses inf; so does staying lose nothing.
        """
        now = self.chosen[devices]
        every = np.arange(len(devices))

        def change(table: Floats) -> Floats:
            own = table[devices]
            return own - own[every, now][:, None]

        allowed = self.allowed[devices]
        with np.errstate(invalid="ignore"):
            gain = np.where(allowed, change(self.value), -np.inf)
            lost = np.where(allowed, -change(self.net), np.inf)
        return gain, change(self.size), change(self.own_s), lost

    def _room(self) -> Floats:
        """Counted parameters that each device may add, shape (N,)."""
        room = np.where(self.paths, self.left_s / np.maximum(self.slope, 1e-300), np.inf)
        return np.asarray(room.min(axis=1, initial=np.inf))

    def _take(self, device: int, option: int) -> None:
        now = self.chosen[device]
        size = self.size[device, option] - self.size[device, now]
        self.left_s -= self.paths[device] * self.slope * size
        self.spare_s += float(self.own_s[device, option] - self.own_s[device, now])
        self.chosen[device] = option


def _largest(mix: Mix, allowed: npt.NDArray[np.bool_], net: Floats) -> Ints:
    """Option of the largest share, among equal ones the best at the prices."""
    share = np.where(allowed, mix.share, -1.0)
    best = net.max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        near = np.where(
            allowed,
            1e-9 / (1 + np.abs(best - net) / max(np.abs(best).max(), SMALLEST)),
            0.0,
        )
    return np.asarray((share + near).argmax(axis=1))
