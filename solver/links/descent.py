"""Better multipliers for copies of capped ranks, along subgradients.

Deflected subgradients with a share of Polyak's step towards the incumbent's value, as in
`solver.capped.bound`, in prices of thresholds. The share grows while the bound falls step by
step, and is halved where it does not.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from solver.costs.devices import Floats, Ints
from solver.deadline import expired
from solver.links.copies import Answers, Copies, within_budget
from solver.links.pool import Prices
from solver.links.search import Search

PATIENCE, DEFLECTION, SHORTEST_STEP = 8, 0.7, 1e-3
# Steps in a row that lower the bound for the next ones to be longer, and by what factor.
STREAK, LONGER = 5, 1.5
# Rank at which a threshold weighs as much as a group of mean weight.
USUAL = 8.0
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


@dataclass(slots=True, kw_only=True)
class Pace:
    """How long steps are.

    Parameters
    ----------
    length : float
        Share of Polyak's step.
    lower, stalled : int
        Last steps that lowered the bound, and that did not.
    """

    length: float = 1.0
    lower: int = 0
    stalled: int = 0

    def after(self, *, lower: bool) -> bool:
        """Take note of a step; whether to begin again from the best place."""
        self.lower, self.stalled = (self.lower + 1, 0) if lower else (0, self.stalled + 1)
        if lower and self.lower % STREAK == 0:
            self.length *= LONGER
        if self.stalled < PATIENCE:
            return False
        self.length, self.stalled = self.length / 2, 0
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """In what prices of ranks a step is steepest: those of ``r_j >= rank``, by group.

    A price of one rank alone makes a group dodge to the next; that of a threshold moves all
    beyond it, and the bound falls several times sooner. From small ranks to the next it takes
    few thresholds, from large ones many, so small ones weigh more; and the price of a group is
    moved by more the more it counts for, as its devices then see less of that.

    Parameters
    ----------
    groups : array, shape (G, 1, 1)
        What each weighs; last the server, where ranks are budgeted.
    ranks : array, shape (R,)
        What thresholds weigh.
    """

    groups: Floats
    ranks: Floats

    @classmethod
    def of(cls, copies: Copies) -> Self:
        """For these groups and ranks."""
        groups = np.sqrt(copies.shares / copies.shares.mean())
        if copies.budget is not None:
            groups = np.append(groups, 1.0)
        ranks = np.sqrt(USUAL / np.maximum(copies.ranks, 1.0))
        return cls(groups=groups[:, None, None], ranks=ranks)

    def apart(self, taken: Floats) -> Floats:
        """What groups take less their mean, so that multipliers still sum to zero."""
        mean = (self.groups * taken).sum(axis=0) / self.groups.sum()
        return np.asarray(taken - mean)

    def step(self, direction: Floats) -> Floats:
        """Change of the multipliers of ranks for a step in these prices."""
        by_threshold = self.groups * self.ranks * _from_the_top(direction)
        return np.asarray(np.cumsum(by_threshold, axis=2))

    def square(self, direction: Floats) -> float:
        """Square of a direction's length in these prices."""
        by_threshold = _from_the_top(direction) ** 2
        return float((self.groups * self.ranks * by_threshold).sum())


def _from_the_top(direction: Floats) -> Floats:
    """Sums from each rank on."""
    return np.asarray(np.cumsum(direction[:, :, ::-1], axis=2)[:, :, ::-1])


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
    metric, pace = Metric.of(state.copies), Pace(length=length)
    direction, toll = None, np.zeros(0)
    weight = np.full(len(window.kept), LINK_WEIGHT)
    if window.epsilon_s is not None:
        weight = np.append(weight, WAIT_WEIGHT)
    for _ in range(steps):
        prices = now.prices
        copies = now.copies.at(search.own, prices, ends)
        constants = tuple(prices.constant(links, point) for point in points)
        answers = copies.answers(now.multipliers, now.around, 0, constants)
        lower = answers.total < least
        if lower:
            best, least = now, answers.total
        begins_again = pace.after(lower=lower)
        if least <= value or pace.length < SHORTEST_STEP or expired():
            break
        if begins_again:
            now, direction = best, None
            continue
        now = replace(now, around=answers.price)
        taken = metric.apart(_taken(copies, now.multipliers, answers, at))
        left_s, kept_s = copies.slack(search.own, answers, prices, points[answers.end])
        slope = np.append(left_s[window.kept], kept_s / links.count.sum()) / window.high_s
        slope = slope[: len(weight)]
        if direction is None:
            direction, toll = taken, slope
        else:
            direction = DEFLECTION * direction + (1 - DEFLECTION) * taken
            toll = DEFLECTION * toll + (1 - DEFLECTION) * slope
        square = max(
            metric.square(direction) + float(weight @ toll**2),
            (metric.square(taken) + float(weight @ slope**2)) / 10,
        )
        step = pace.length * (answers.total - value) / square
        vector = search.vector(prices) - step * weight * toll / window.high_s
        now = replace(
            now,
            multipliers=now.multipliers - step * metric.step(direction),
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
    metric, pace, direction = Metric.of(copies), Pace(), None
    for _ in range(steps):
        answers = copies.answers(multipliers, price)
        bound = answers.total + constant
        price = answers.price
        lower = bound < least
        if lower:
            best, best_price, least = multipliers, price, bound
        begins_again = pace.after(lower=lower)
        if least <= value or pace.length < SHORTEST_STEP or expired():
            break
        if begins_again:
            multipliers, direction = best, None
            continue
        taken = metric.apart(_taken(copies, multipliers, answers, at))
        if not taken.any():
            break
        direction = (
            taken if direction is None else DEFLECTION * direction + (1 - DEFLECTION) * taken
        )
        square = max(metric.square(direction), metric.square(taken) / 10)
        step = pace.length * (bound - value) / square
        multipliers = multipliers - step * metric.step(direction)
    return best, best_price, least


def _taken(copies: Copies, multipliers: Floats, answers: Answers, incumbent: Ints) -> Floats:
    """How much of each group takes each rank, by layer."""
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
    return taken


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
