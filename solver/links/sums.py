"""What groups of devices are offered at copies of the ranks, by price, depth and cap.

See `solver.links.copies`. For one group and one price of a unit of the prefix sum the offers
are the same for all its devices; a device then adds what its own room and toll make of them,
takes the least over the prices, and of these the greatest over depths and caps.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from solver.costs.devices import Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What devices bring along, n of them.

    Parameters
    ----------
    group : array of int, shape (n,)
        Index in the block.
    room, toll, bonus : array, shape (n, L + 1)
        As in `solver.links.copies.Copies`.
    around : array, shape (n,)
        A price near the one each will settle at.
    low : array, shape (n, L + 1), or None
        Where round times differ: a line over them from here to `room` bounds the room.
    """

    group: Ints
    room: Floats
    toll: Floats
    bonus: Floats
    around: Floats
    low: Floats | None = None

    @property
    def ends(self) -> tuple[Floats, ...]:
        """Room at the shortest round time, if there are several, and at the longest."""
        return (self.room,) if self.low is None else (self.low, self.room)


class Taken(NamedTuple):
    """Value per weight, depth, cap, price and units sent of every device, each (n,)."""

    worth: Floats
    depth: Ints
    cap: Ints
    price: Floats
    size: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Offers to a block of groups.

    Parameters
    ----------
    grid : array, shape (G, P)
        Prices of a unit per weight, ascending; the first is no more than any toll of the
        group, the last no less.
    value : array, shape (G, P, L, R)
        Offer by price, depth less one, and cap.
    bare : array, shape (G,)
        Offer at depth 0.
    """

    grid: Floats
    value: Floats
    bare: Floats

    @classmethod
    def of(cls, own: Floats, grid: Floats, gains: Floats, size: Floats) -> Self:
        """Tabulate the offers.

        Parameters
        ----------
        own : array, shape (G, L, R)
            Multipliers of the groups' copies, per weight.
        grid : array, shape (G, P)
        gains, size : array, shape (L, R)
        """
        beyond = np.maximum.accumulate(own[:, :, ::-1], axis=2)[:, :, ::-1]
        rest = np.cumsum(beyond[:, ::-1, 0], axis=1)[:, ::-1]
        rest = np.concatenate([rest, np.zeros((len(own), 1))], axis=1)
        worth = grid[:, :, None, None] * size
        below = np.subtract((gains + own)[:, None], worth)
        np.maximum.accumulate(below, axis=3, out=below)
        value = np.subtract((gains + beyond)[:, None], worth, out=worth)
        np.maximum(value, below, out=value)
        # A sum along an axis that is not the last takes numpy several times as long.
        for layer in range(1, value.shape[2]):
            value[:, :, layer] += value[:, :, layer - 1]
        value += rest[:, None, 1:, None]
        return cls(grid=grid, value=value, bare=rest[:, 0])

    def best(self, terms: Terms) -> list[Taken]:
        """What every device takes at each end of the round times, the last one the longest.

        A pair of depth and cap is offered the same price at both ends, the best half-way. What
        a device takes is then convex in the round time, so the larger of both ends bounds
        all between.
        """
        count, caps = len(terms.group), self.value.shape[3]
        every = np.arange(count)
        # One price bounds every depth and cap; the few that are not below the least price of
        # the best of these are looked at in full.
        need = np.maximum(terms.around, terms.toll.max(axis=1))
        at = (self.grid[terms.group] < need[:, None]).sum(axis=1)
        at = np.minimum(at, self.grid.shape[1] - 1)
        over, offer = (
            self.grid[terms.group, at][:, None] - terms.toll,
            self.value[terms.group, at],
        )
        bare = np.where(
            terms.room[:, 0] >= 0, self.bare[terms.group] + terms.bonus[:, 0], -np.inf
        )
        # No less than at a shorter round time.
        bound = offer + (over * terms.room + terms.bonus)[:, 1:, None]
        bound[terms.room[:, 1:] < 0] = -np.inf
        bound = bound.reshape(count, -1)
        first = bound.argmax(axis=1)
        floor = np.minimum.reduce(self._least(terms, every, *np.divmod(first, caps))[0])
        live = (bound >= np.maximum(floor, bare)[:, None]) & np.isfinite(bound)
        live[every, first] = True
        device, flat = np.nonzero(live)
        values, price, sizes = self._least(terms, device, *np.divmod(flat, caps))
        starts = np.searchsorted(device, every)
        found = []
        for value, size in zip(values, sizes, strict=True):
            most = np.maximum.reduceat(value, starts)
            # The first of the greatest of each device.
            taken = np.flatnonzero(value == most[device])
            taken = taken[np.searchsorted(device[taken], every)]
            depth, cap = np.divmod(flat[taken], caps)
            idle = bare >= most
            found.append(
                Taken(
                    worth=np.where(idle, bare, most),
                    depth=np.where(idle, 0, depth + 1),
                    cap=cap,
                    price=price[taken],
                    size=np.where(idle, 0.0, size[taken]),
                )
            )
        return found

    def _least(
        self, terms: Terms, device: Ints, depth: Ints, cap: Ints
    ) -> tuple[list[Floats], Floats, list[Floats]]:
        """Values by end at the price that is least half-way, that price, and units by end."""
        group = terms.group[device]
        toll = terms.toll[device, depth + 1]
        rooms = [room[device, depth + 1] for room in terms.ends]
        middle = sum(rooms[1:], rooms[0]) / len(rooms)
        # At its own toll a device pays for no room; between two prices the sums are convex.
        grid = self.grid[group]
        high = (grid <= toll[:, None]).sum(axis=1).clip(1, grid.shape[1] - 1)
        every = np.arange(len(device))
        low_price, high_price = grid[every, high - 1], grid[every, high]
        apart = high_price - low_price
        known = np.where(apart > 0, apart, 1.0)
        share = np.where(apart > 0, (toll - low_price) / known, 0.0)
        # One index into a flat table is several times faster than four.
        offers, (_, prices, depths, caps) = self.value.reshape(-1), self.value.shape
        apiece = depths * caps
        first = (group * prices * depths + depth) * caps + cap
        below = offers.take(first + (high - 1) * apiece)
        above = offers.take(first + high * apiece)
        rise = np.subtract(above, below, out=np.zeros_like(below), where=np.isfinite(below))
        least, price = below + share * rise, toll.copy()
        for p, at in enumerate(grid.T):
            over = at - toll
            offer = offers.take(first + p * apiece)
            offer += over * middle
            lower = (over >= 0) & (offer < least)
            np.copyto(least, offer, where=lower)
            np.copyto(price, at, where=lower)
        # Beyond its toll all its room is paid for.
        paid, free = price > toll, -rise / known
        least += terms.bonus[device, depth + 1]
        least[terms.room[device, depth + 1] < 0] = -np.inf
        values = [least + (price - toll) * (room - middle) for room in rooms]
        return values, price, [np.where(paid, room, free) for room in rooms]
