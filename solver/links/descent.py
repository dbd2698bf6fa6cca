"""Better multipliers for copies of capped ranks, along subgradients.

Deflected subgradients with a share of Polyak's step towards the incumbent's value, as in
`solver.capped_bound`, in prices of thresholds.
"""

from dataclasses import dataclass, replace

import numpy as np

from solver.deadline import expired
from solver.devices import Floats, Ints
from solver.links.copies import Answers, Copies, within_budget
from solver.links.pool import Prices
from solver.links.search import Search

PATIENCE, DEFLECTION, SHORTEST_STEP = 8, 0.7, 1e-3
# What a link or the wait that is passed by the whole round time weighs, next to a group that
# disagrees about one rank.
LINK_WEIGHT, WAIT_WEIGHT = 1e3, 2e5


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Copies, their multipliers, and prices, where a bound was lowest.

    Parameters
    ----------
    ranks : array of int, shape (L,)
        Those that groups take among equals.
    around : array, shape (N,)
        As for `solver.links.copies.Copies.answers`.
    """

    copies: Copies
    ranks: Ints
    multipliers: Floats
    prices: Prices
    around: Floats


def descend_together(
    search: Search,
    state: State,
    ends: tuple[Floats, Floats] | None,
    value: float,
    steps: int,
    length: float = 1.0,
) -> tuple[State, float]:
    """Follow subgradients in multipliers and prices over a window of round times.

    Parameters
    ----------
    search : Search
    state : State
        Where to start.
    ends : tuple of arrays or None
        As for `solver.links.copies.Copies.at`; None for one round time.
    value, steps
        As for `descend`.
    length : float
        First share of Polyak's step.
    """
    window, links = search.window, search.links
    times = (window.high_s,) if ends is None else (window.low_s, window.high_s)
    points = [replace(window, low_s=end_s, high_s=end_s) for end_s in times]
    at = np.searchsorted(state.copies.ranks, state.ranks)
    now, best, least = state, state, np.inf
    stalled, direction, toll = 0, None, np.zeros(0)
    weight = np.full(len(window.kept), LINK_WEIGHT)
    if window.epsilon_s is not None:
        weight = np.append(weight, WAIT_WEIGHT)
    for _ in range(steps):
        prices = now.prices
        copies = now.copies.at(search.own, prices, ends)
        constants = tuple(prices.constant(links, point) for point in points)
        answers = copies.answers(now.multipliers, now.around, 0, constants)
        if answers.total < least:
            best, least, stalled = now, answers.total, 0
        else:
            stalled += 1
        if least <= value or length < SHORTEST_STEP or expired():
            break
        if stalled == PATIENCE:
            now, direction, length, stalled = best, None, length / 2, 0
            continue
        now = replace(now, around=answers.price)
        taken = _taken(copies, now.multipliers, answers, at)
        left_s, kept_s = copies.slack(search.own, answers, prices, points[answers.end])
        slope = np.append(left_s[window.kept], kept_s / links.count.sum()) / window.high_s
        slope = slope[: len(weight)]
        if direction is None:
            direction, toll = taken, slope
        else:
            direction = DEFLECTION * direction + (1 - DEFLECTION) * taken
            toll = DEFLECTION * toll + (1 - DEFLECTION) * slope
        square = max(
            _square(direction) + float(weight @ toll**2),
            (_square(taken) + float(weight @ slope**2)) / 10,
        )
        step = length * (answers.total - value) / square
        vector = search.vector(prices) - step * weight * toll / window.high_s
        now = replace(
            now,
            multipliers=now.multipliers - step * _by_thresholds(direction),
            prices=search.prices_at(np.maximum(vector, 0.0)),
        )
    return best, least


def descend(
    copies: Copies,
    multipliers: Floats,
    incumbent: Ints,
    value: float,
    constant: float,
    steps: int,
) -> tuple[Floats, Floats, float]:
    """Follow subgradients; the best multipliers, their prices and bound.

    `constant` is added to the bound.
    """
    at = np.searchsorted(copies.ranks, incumbent)
    best, best_price, least = multipliers, copies.price, np.inf
    price = copies.price
    length, stalled, direction = 1.0, 0, None
    for _ in range(steps):
        answers = copies.answers(multipliers, price)
        bound = answers.total + constant
        price = answers.price
        if bound < least:
            best, best_price, least, stalled = multipliers, price, bound, 0
        else:
            stalled += 1
        if least <= value or length < SHORTEST_STEP or expired():
            break
        if stalled == PATIENCE:
            multipliers, direction = best, None
            length, stalled = length / 2, 0
            continue
        taken = _taken(copies, multipliers, answers, at)
        if not taken.any():
            break
        direction = (
            taken if direction is None else DEFLECTION * direction + (1 - DEFLECTION) * taken
        )
        square = max(_square(direction), _square(taken) / 10)
        step = length * (bound - value) / square
        multipliers = multipliers - step * _by_thresholds(direction)
    return best, best_price, least


def _taken(copies: Copies, multipliers: Floats, answers: Answers, incumbent: Ints) -> Floats:
    """Subgradient: how much of each group takes each rank, less the mean of the groups."""
    groups, share = len(copies.shares), copies.weights / copies.shares[copies.group]
    own, taken = (
        multipliers[:groups] / copies.shares[:, None, None],
        np.zeros(multipliers.shape),
    )
    for layer, (table, here) in enumerate(zip(np.moveaxis(own, 1, 0), incumbent, strict=True)):
        choice = _chosen(copies, table, answers, layer, int(here))
        count = np.bincount(
            copies.group * len(copies.ranks) + choice, share, minlength=table.size
        )
        taken[:groups, layer] = count.reshape(table.shape)
    if copies.budget is not None:
        layers = np.arange(len(copies.steps))
        best = within_budget(multipliers[-1], copies.ranks, copies.budget)[1]
        taken[-1, layers, best] = 1.0
    return np.asarray(taken - taken.mean(axis=0))


def _chosen(copies: Copies, own: Floats, answers: Answers, layer: int, incumbent: int) -> Ints:
    """Rank that each device likes best at a layer, by its index, (N,); `own` has shape (G, R).

    Beyond its cap, or where it does not adapt the layer, it goes by its group's multipliers.
    """
    beyond = np.maximum.accumulate(own[:, ::-1], axis=1)[:, ::-1]
    number = own.shape[1]
    # The first of the largest from each rank on.
    first = np.where(own == beyond, np.arange(number), number)
    first = np.minimum.accumulate(first[:, ::-1], axis=1)[:, ::-1]
    choice = np.where(own[:, incumbent] >= _almost(beyond[:, 0]), incumbent, first[:, 0])
    choice = choice[copies.group]
    some = np.flatnonzero(answers.depth > layer)
    group, cap, price = copies.group[some], answers.cap[some], answers.price[some]
    gains, size = copies.gains[layer], copies.steps[layer] * copies.ranks
    value = own[group] + gains
    value -= price[:, None] * size
    value[np.arange(number) > cap[:, None]] = -np.inf
    every = np.arange(len(some))
    within = value.argmax(axis=1)
    most, base = value[every, within], gains[cap] - price * size[cap]
    larger = base + beyond[group, cap]
    best = np.where(larger > most, first[group, cap], within)
    known = value[:, incumbent]
    known = np.where(cap < incumbent, base + own[group, incumbent], known)
    content = known >= _almost(np.maximum(larger, most))
    choice[some] = np.where(content, incumbent, best)
    return np.asarray(choice)


def _almost(value: Floats) -> Floats:
    """Less a value's rounding."""
    return np.asarray(value - 1e-12 * np.maximum(np.abs(value), 1.0))


def _by_thresholds(direction: Floats) -> Floats:
    """A step in prices of ``r_j >= rank`` instead of ``r_j = rank``, along the last axis.

    A price of one rank alone makes a group dodge to the next; that of a threshold moves all
    beyond it, and the bound falls several times sooner.
    """
    return np.cumsum(np.cumsum(direction[:, :, ::-1], axis=2)[:, :, ::-1], axis=2)


def _square(direction: Floats) -> float:
    """Square of its length in these prices."""
    return float((np.cumsum(direction[:, :, ::-1], axis=2) ** 2).sum())
