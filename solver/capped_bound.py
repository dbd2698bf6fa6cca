"""How good capped ranks can be: Lagrangian decomposition, a copy of the ranks per device.

Every group of devices i (`solver.rooms`) gets ranks r^i of its own; that they are all the
same, ``[r^i_j = r] = [r^1_j = r] = ...``, is priced by multipliers u[r, j, i] that sum to zero
over the groups. Each group then answers alone (`solver.capped_parts`), and the sum of their
values is a bound for any u (Fisher, Management Science 27, 1981). A budget on the sum of the
ranks is one more group, the server.

The multipliers start where the incumbent ranks are at rest: a group that keeps its depth and
cap is paid for any other rank exactly what that costs it, and what all of them win or lose
together is shared out by weight. From there they follow deflected subgradients with a share
of Polyak's step towards the incumbent's value. Steps are taken in single precision; the bound
is that of the best multipliers, once more in double. It is as good as the convex hull of each
group's answers; the rest of the gap is what mixing answers would gain.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from solver.capped_parts import NEAR, Answers, Parts
from solver.deadline import expired
from solver.devices import Floats, Ints
from solver.problem import Problem
from solver.rooms import Rooms

GAP = 1e-4
# Prices of capacity: on the coarse grid, and in the last look at the best multipliers.
PRICES, LAST_PRICES = 12, 96
# Cells (group, layer, rank, price) in all steps: by work, not by the clock, so that the plan
# is the same on every machine. About a second.
WORK, QUICK_WORK = 4e8, 1e8
FEWEST, MOST = 20, 600
# Share of Polyak's step, halved where so many steps in a row (or a share of all) gain nothing.
FIRST_STEP, SHORTEST_STEP, PATIENCE, PATIENT_SHARE = 0.5, 1e-3, 8, 0.05
DEFLECTION = 0.7
SMALLEST = 1e-12
# Rounding of a sum over layers, relative to the largest terms.
ROUNDING = 1e-13


def lagrangian_bound(
    problem: Problem, rooms: Rooms, incumbent: Ints, value: float, *, thorough: bool
) -> float:
    """Bound the utility of every plan with capped ranks.

    Parameters
    ----------
    problem : Problem
    rooms : Rooms
        Optimistic.
    incumbent : array of int, shape (L,)
        Good shared ranks, from the output.
    value : float
        Utility that the search for a bound aims at.
    thorough : bool
        Whether to spend `WORK`, or only `QUICK_WORK`.
    """
    split = _Split.of(problem, rooms, incumbent)
    start, price = split.at_rest()
    cells = start.size * (PRICES + len(NEAR))
    steps = int(np.clip((WORK if thorough else QUICK_WORK) / cells, FEWEST, MOST))
    best, price = split.descend(start, price, value, steps)
    return split.total(best, split.answers(best, LAST_PRICES, price))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Split:
    """The problem, one part a group.

    Parameters
    ----------
    parts : Parts
    incumbent : array of int, shape (L,)
        Shared ranks, 0 where nobody adapts the layer.
    budget : int or None
        Largest sum of the ranks; multipliers have the server's in the last place then.
    """

    parts: Parts
    incumbent: Ints
    budget: int | None

    @classmethod
    def of(cls, problem: Problem, rooms: Rooms, incumbent: Ints) -> Self:
        return cls(
            parts=Parts.of(problem, rooms),
            incumbent=incumbent,
            budget=problem.question.budgets.rank_budget,
        )

    def answers(self, multipliers: Floats, prices: int, price: Floats) -> Answers:
        """Every group's answer, by so many prices and those near the last."""
        own = multipliers[:, :, : len(self.parts.weights)]
        return self.parts.answers(own, self.parts.prices(prices, price))

    def total(self, multipliers: Floats, answers: Answers) -> float:
        """Values of all groups, what is left in the sums of the multipliers, and rounding."""
        total = float(answers.values.sum())
        if self.budget is not None:
            total += self._server(multipliers[:, :, -1])[0]
        rounding = ROUNDING * (float(np.abs(multipliers).max(axis=0).sum()) + abs(total))
        return total - float(multipliers.sum(axis=2).min(axis=0).sum()) + rounding

    def at_rest(self) -> tuple[Floats, Floats]:
        """Multipliers under which every group is content with the incumbent, and prices."""
        parts, rest = self.parts, self.parts.at_rest(self.incumbent, LAST_PRICES)
        value = parts.own_value(rest)
        # A layer that nobody may adapt earns nothing.
        value = np.where(np.isfinite(value), value, 0.0)
        tied = parts.room[-1] < parts.sizes[-1].sum()
        share = np.where(tied | ~tied.any(), parts.weights, 0.0)
        multipliers = value.sum(axis=2, keepdims=True) * (share / share.sum()) - value
        if self.budget is not None:
            multipliers = np.pad(multipliers, ((0, 0), (0, 0), (0, 1)))
        return multipliers, rest.price

    def descend(
        self, multipliers: Floats, price: Floats, value: float, steps: int
    ) -> tuple[Floats, Floats]:
        """Follow subgradients; the best multipliers and their prices of capacity."""
        best, best_price, least = multipliers, price, np.inf
        length, stalled, direction = FIRST_STEP, 0, None
        patience = max(PATIENCE, int(PATIENT_SHARE * steps))
        for _ in range(steps):
            answers = self.answers(multipliers.astype(np.float32), PRICES, price)
            bound, price = self.total(multipliers, answers), answers.price
            if bound < least:
                best, best_price, least, stalled = multipliers, price, bound, 0
            else:
                stalled += 1
            if least <= value * (1 + GAP) or length < SHORTEST_STEP or expired():
                break
            if stalled == patience:
                multipliers, price, direction = best, best_price, None
                length, stalled = length / 2, 0
                continue
            taken = self._taken(multipliers, answers)
            if not taken.any():
                # All agree: these multipliers are the best.
                break
            direction = (
                taken
                if direction is None
                else DEFLECTION * direction + (1 - DEFLECTION) * taken
            )
            # Deflection may nearly cancel a direction; steps must not grow for that.
            square = max(float((direction**2).sum()), float((taken**2).sum()) / 10)
            step = length * (bound - value) / square
            multipliers = multipliers - step * np.cumsum(direction, axis=0)
        return best, best_price

    def _taken(self, multipliers: Floats, answers: Answers) -> Floats:
        """Subgradient: whether each group takes a rank or a larger one, less the mean of all.

        Among equals the incumbent's rank is taken. Steps are taken in prices of these
        thresholds, not of the ranks one by one: a price of one rank makes a group dodge to the
        next, that of a threshold moves all beyond it.
        """
        groups = len(self.parts.weights)
        value = multipliers.copy()
        value[:, :, :groups] += self.parts.own_value(answers)
        choice = value.argmax(axis=0)
        largest = value.max(axis=0)
        slack = SMALLEST * np.maximum(np.abs(largest), 1 / groups)
        at = np.searchsorted(self.parts.ranks, self.incumbent)
        rest = value[at, np.arange(len(at))] >= largest - slack
        if self.budget is not None:
            choice[:, -1] = self._server(multipliers[:, :, -1])[1]
            rest[:, -1] = False
        choice = np.where(rest, at[:, None], choice)
        beyond = choice >= np.arange(len(self.parts.ranks))[:, None, None]
        return np.asarray(beyond - beyond.mean(axis=2, keepdims=True))

    def _server(self, own: Floats) -> tuple[float, Ints]:
        """Best ranks within the budget, itself priced, by the server's multipliers (R, L)."""
        assert self.budget is not None
        highest = float(own.max() - own.min()) + SMALLEST
        best, taken = np.inf, own.argmax(axis=0)
        for price in (0.0, *np.geomspace(highest * 1e-6, highest, LAST_PRICES).tolist()):
            offer = own - price * self.parts.ranks[:, None]
            value = price * self.budget + float(offer.max(axis=0).sum())
            if value < best:
                best, taken = value, offer.argmax(axis=0)
        return best, taken
