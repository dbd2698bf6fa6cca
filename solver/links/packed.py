"""The best choice behind each access link while everything beyond it is priced.

A linear program splits devices behind every link that is full. Behind one link, and with prices
on the links above it and on the wait, what is best is a knapsack with one option a device,

    max  sum_i net_i(o_i)   over  sum_i size_i(o_i) <= room,

and sizes are few: whole ranks times layers. The recursion over devices and room solves it
exactly, with the few options a device that lose least at the program's prices.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from solver.costs.devices import Floats, Ints
from solver.costs.resource import TOLERANCE
from solver.links.graph import Links
from solver.links.mix import Mix
from solver.links.pool import Pool, Prices, Window

# Factors of the wait's price until the wait is kept, and halvings between the last two.
DEARER, HALVINGS = (1.0, 1.1, 1.3, 2.0, 4.0, 8.0), 4
# Options a device that are tried, beside the smallest; and steps of room at most.
OPTIONS, ROOMS = 5, 1 << 13


def packings(
    pool: Pool, links: Links, window: Window, mix: Mix
) -> Iterator[tuple[Ints, float]]:
    """Choices of one option a device and their round times, at several prices of the wait.

    What is left of the links is lost to the wait too, so that its price in the mix is too low
    for choices that split nobody.
    """
    round_s = min(max(mix.round_s, window.low_s), window.high_s)
    if window.epsilon_s is None:
        round_s = window.high_s
    allowed = np.isfinite(pool.value) & (pool.seconds <= round_s * (1 + TOLERANCE))
    if not allowed.any(axis=1).all():
        return
    low, high, left = 0.0, np.inf, HALVINGS
    for factor in DEARER:
        while left:
            prices = replace(mix.prices, wait=mix.prices.wait * factor)
            net = np.where(allowed, pool.tilted(links, prices), -np.inf)
            loss = net.max(axis=1, keepdims=True) - net
            chosen = packed(pool, links, window, prices, loss, round_s)
            taken_s, wait_s = _times(pool, links, chosen)
            yield chosen, taken_s
            if window.epsilon_s is None or (wait_s <= window.epsilon_s and not low):
                return
            if wait_s <= window.epsilon_s:
                high = factor
            else:
                low = factor
            if high == np.inf:
                break
            factor, left = (low + high) / 2, left - 1


def _times(pool: Pool, links: Links, chosen: Ints) -> tuple[float, float]:
    """Round time of a choice, and its mean wait."""
    every = np.arange(len(chosen))
    own_s = pool.seconds[every, chosen]
    busy_s = links.busy_s(pool.parameters[every, chosen], np.ones(len(own_s), dtype=np.bool_))
    round_s = max(float(own_s.max()), float(busy_s.max()))
    return round_s, round_s - float(np.dot(links.count, own_s) / links.count.sum())


def packed(
    pool: Pool, links: Links, window: Window, prices: Prices, loss: Floats, round_s: float
) -> Ints:
    """Choose an option a device, shape (N,), that keeps every link with none below it.

    Parameters
    ----------
    pool : Pool
    links : Links
    window : Window
    prices : Prices
    loss : array, shape (N, O)
        What an option loses to the device's best at these prices; infinite if not allowed.
    round_s : float
    """
    above = links.above[:, window.kept]
    lowest = window.kept[above[window.kept].sum(axis=0) == 1]
    size = links.count[:, None] * pool.parameters
    chosen = loss.argmin(axis=1)
    linked = np.flatnonzero(links.own >= 0)
    for e in lowest.tolist():
        behind = linked[links.above[links.own[linked], e]]
        room = (round_s * (1 + TOLERANCE) - links.bare_s[e]) / links.s_per_parameter[e]
        price = prices.links[e] * links.s_per_parameter[e]
        chosen[behind] = _pack(size[behind], loss[behind], price, room)
    return np.asarray(chosen)


def _pack(size: Floats, loss: Floats, price: float, room: float) -> Ints:
    """Choose an option a row, of least loss where a unit of `size` is free within `room`."""
    smallest = np.where(np.isfinite(loss), size, np.inf).argmin(axis=1)
    every = np.arange(len(size))
    least = size[every, smallest]
    option = np.argsort(loss, axis=1, kind="stable")[:, :OPTIONS]
    option = np.concatenate([smallest[:, None], option], axis=1)
    more = np.take_along_axis(size, option, axis=1) - least[:, None]
    # Its own price is left out: what is not used of this link is worth nothing.
    worth = price * more - np.take_along_axis(loss, option, axis=1)
    worth[more < 0] = -np.inf
    room -= float(least.sum())
    steps = np.rint(more[np.isfinite(worth)]).astype(np.int64)
    unit = int(np.gcd.reduce(steps)) or 1
    unit *= max(-(-min(int(room), int(steps.sum())) // (unit * ROOMS)), 1)
    length = int(max(room, 0.0) // unit) + 1
    units = -(-np.rint(more).astype(np.int64) // unit)
    length = min(length, int(units.max(axis=1).sum()) + 1)
    return np.asarray(option[every, _filled(units.tolist(), worth.tolist(), length)])


def _filled(units: list[list[int]], worth: list[list[float]], length: int) -> list[int]:
    """Options by row that are worth most in fewer units than `length`; the first of equals.

    The first of every row takes no unit.
    """
    best = [np.zeros(length)]
    for steps, gains in zip(units, worth, strict=True):
        before = best[-1]
        here = before + gains[0]
        for step, gain in zip(steps[1:], gains[1:], strict=True):
            if 0 <= step < length:
                np.maximum(here[step:], before[: length - step] + gain, out=here[step:])
        best.append(here)
    # What was taken is found again on the way back, as in `solver.dp.values`.
    chosen, left = [0] * len(units), length - 1
    for i in range(len(units) - 1, -1, -1):
        before, most = best[i], -np.inf
        for o, (step, gain) in enumerate(zip(units[i], worth[i], strict=True)):
            if 0 <= step <= left and before[left - step] + gain > most:
                chosen[i], most = o, before[left - step] + gain
        left -= units[i][chosen[i]]
    return chosen
