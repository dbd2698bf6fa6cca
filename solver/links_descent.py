"""Better multipliers for copies of capped ranks, along subgradients.

Deflected subgradients with a share of Polyak's step towards the incumbent's value, as in
`solver.capped_bound`, in prices of thresholds.
"""

import numpy as np

from solver.deadline import expired
from solver.devices import Floats, Ints
from solver.links_copies import Answers, Copies, within_budget

PATIENCE, DEFLECTION, SHORTEST_STEP = 8, 0.7, 1e-3


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
    groups, layer = len(copies.shares), np.arange(len(copies.steps))
    value = copies.own_value(answers.depth, answers.cap, answers.price)
    value += (multipliers[:groups] / copies.shares[:, None, None])[copies.group]
    choice, largest = value.argmax(axis=2), value.max(axis=2)
    slack = 1e-12 * np.maximum(np.abs(largest), 1.0)
    choice = np.where(value[:, layer, incumbent] >= largest - slack, incumbent, choice)
    taken = np.zeros(multipliers.shape)
    share = (copies.weights / copies.shares[copies.group])[:, None]
    np.add.at(taken, (copies.group[:, None], layer, choice), share)
    if copies.budget is not None:
        taken[-1, layer, within_budget(multipliers[-1], copies.ranks, copies.budget)[1]] = 1.0
    return np.asarray(taken - taken.mean(axis=0))


def _by_thresholds(direction: Floats) -> Floats:
    """A step in prices of ``r_j >= rank`` instead of ``r_j = rank``, along the last axis.

    A price of one rank alone makes a group dodge to the next; that of a threshold moves all
    beyond it, and the bound falls several times sooner.
    """
    return np.cumsum(np.cumsum(direction[:, :, ::-1], axis=2)[:, :, ::-1], axis=2)


def _square(direction: Floats) -> float:
    """Square of its length in these prices."""
    return float((np.cumsum(direction[:, :, ::-1], axis=2) ** 2).sum())
