"""From a mix of options to one option a device that keeps every link and the mean wait.

The linear program of `solver.links.pool` splits no more devices than there are limits that
bind. They are rounded; where that passes a link, the options that lose least per byte are
lowered; where devices then wait too long, those are raised that lose least per second; and
last, single moves and exchanges of two devices behind one link fill what is left.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from solver.costs.devices import Floats, Ints
from solver.costs.resource import TOLERANCE
from solver.links.graph import Links
from solver.links.mix import Mix
from solver.links.packed import packings
from solver.links.pool import Pool, Window

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

    See there for the parameters. The choices of `solver.links.packed` take a round of their
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
        Utility, counted LoRA parameters and counted time of an option; utility is -inf where
        it is not allowed.
    net : array, shape (N, O)
        Utility less tolls: what a move loses by is read off this.
    gain, grown, longer, lost : array, shape (N, O)
        What a move to an option adds to utility, parameters and time, and loses of `net`.
    ways : array of bool, shape (V, E)
        Kept links on each way to the server.
    way : array of int, shape (N,)
        That of every device.
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
    gain: Floats
    grown: Floats
    longer: Floats
    lost: Floats
    ways: npt.NDArray[np.bool_]
    way: Ints
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
        value = np.where(allowed, pool.value, -np.inf)
        size, own_s = (
            links.count[:, None] * pool.parameters,
            links.count[:, None] * pool.seconds,
        )
        above = np.concatenate([links.above[:, kept], np.zeros((1, len(kept)), dtype=np.bool_)])
        slope = links.s_per_parameter[kept]
        spare_s = np.inf
        if window.epsilon_s is not None:
            needed_s = float(links.count.sum()) * (limit_s - window.epsilon_s)
            spare_s = float(own_s[every, chosen].sum()) - needed_s
        busy_s = links.bare_s[kept] + slope * (size[every, chosen] @ above[links.own])
        # Of those for whom nothing is allowed what is chosen may not be, either.
        with np.errstate(invalid="ignore"):
            gain, grown, longer, gained = (
                table - table[every, chosen][:, None] for table in (value, size, own_s, net)
            )
        return cls(
            value=value,
            size=size,
            own_s=own_s,
            net=net,
            gain=np.where(allowed, gain, -np.inf),
            grown=grown,
            longer=longer,
            lost=np.where(allowed, -gained, np.inf),
            ways=above,
            way=links.own,
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
            behind = self._behind(worst)
            freed, lost = -self.grown[behind] * self.slope[worst], self.lost[behind]
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
        enough_s = -TOLERANCE * abs(self.own_s.sum(axis=0).max(initial=0.0))
        if self.spare_s >= enough_s:
            return True
        room = self._room()
        option, rate = self._longer(np.arange(len(self.chosen)), room)
        for _ in range(self.value.size):
            device = int(rate.argmin())
            if not np.isfinite(rate[device]):
                return False
            self._take(device, int(option[device]))
            if self.spare_s >= enough_s:
                return True
            before, room = room, self._room()
            # Those whose room is another, or who may now do more than is needed.
            other = (room != before) | (self.longer.max(axis=1) > -self.spare_s)
            other[device] = True
            others = np.flatnonzero(other)
            option[others], rate[others] = self._longer(others, room)
        return False

    def _longer(self, devices: Ints, room: Floats) -> tuple[Ints, Floats]:
        """Option of each of n devices that loses least per second, and what, (n,) each."""
        longer, grown = self.longer[devices], self.grown[devices]
        useful = np.clip(longer, 1e-300, -self.spare_s)
        rate = np.maximum(self.lost[devices], 0.0) / useful
        rate[(longer <= 0) | (grown > room[devices, None])] = np.inf
        option = rate.argmin(axis=1)
        return option, rate[np.arange(len(devices)), option]

    def fill(self) -> None:
        """Take moves, and exchanges behind one link, that gain utility."""
        self._raise()
        for e in range(len(self.slope)):
            behind = self._behind(e)
            for _ in range(EXCHANGES):
                if not self._exchange(e, behind):
                    break
        self._raise()

    def _raise(self) -> None:
        least = SMALLEST * float(np.abs(self.value[np.isfinite(self.value)]).max(initial=0.0))
        for _ in range(self.value.size):
            fits = (self.grown <= self._room()[:, None]) & (
                self.longer >= -max(self.spare_s, 0.0)
            )
            gain = np.where(fits, self.gain, -np.inf)
            at = int(gain.argmax())
            if gain.flat[at] <= least:
                return
            self._take(at // gain.shape[1], at % gain.shape[1])

    def _exchange(self, link: int, behind: Ints) -> bool:
        """Move two devices behind a link, one up and one down; whether that was possible."""
        gain, size, longer = self.gain[behind], self.grown[behind], self.longer[behind]
        lost = np.where(np.isfinite(gain), self.lost[behind], np.inf)
        order = np.argsort(lost, axis=None)[:MOVES]
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
            moved = self._way(behind[who[a]]) * size[a] + self._way(behind[who[b]]) * size[b]
            if (moved * self.slope <= self.left_s).all():
                self._take(int(behind[who[a]]), int(option[a]))
                self._take(int(behind[who[b]]), int(option[b]))
                return True
        return False

    def _way(self, device: int) -> npt.NDArray[np.bool_]:
        """Kept links that a device's bytes pass, shape (E,)."""
        return np.asarray(self.ways[self.way[device]])

    def _behind(self, link: int) -> Ints:
        """Devices behind a kept link."""
        return np.flatnonzero(self.ways[self.way, link])

    def _room(self) -> Floats:
        """Counted parameters that each device may add, shape (N,)."""
        room = np.where(self.ways, self.left_s / np.maximum(self.slope, 1e-300), np.inf)
        return np.asarray(room.min(axis=1, initial=np.inf)[self.way])

    def _take(self, device: int, option: int) -> None:
        self.left_s -= self._way(device) * self.slope * self.grown[device, option]
        self.spare_s += float(self.longer[device, option])
        self.chosen[device] = option
        self.gain[device] = self.value[device] - self.value[device, option]
        self.grown[device] = self.size[device] - self.size[device, option]
        self.longer[device] = self.own_s[device] - self.own_s[device, option]
        self.lost[device] = self.net[device, option] - self.net[device]


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
