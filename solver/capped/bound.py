"""How good capped ranks can be: Lagrangian decomposition, a copy of the ranks per device.

Every group of devices i (`solver.slopes.rooms`) gets ranks r^i of its own; that they are all
the same, ``[r^i_j = r] = [r^1_j = r] = ...``, is priced by multipliers u[r, j, i] that sum to
zero over the groups. Each group then answers alone (`solver.capped.parts`), and the sum of
their values is a bound for any u (Fisher, Management Science 27, 1981). A budget on the sum of
the ranks is one more group, the server.

The multipliers start where the incumbent ranks are at rest: a group that keeps its depth and
cap is paid for any other rank exactly what that costs it, and what all of them win or lose
together is shared out by weight. From there they follow deflected subgradients with a share
of Polyak's step towards the incumbent's value. Where a mean wait asks for long own times
(`solver.wait.capped_bound`), the price of a second goes down the same subgradients. Steps are
taken in single precision; the bound is that of the best place, once more in double. It is as
good as the convex hull of each group's answers; the rest of the gap is what mixing answers
would gain.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np

from solver.capped.parts import NEAR, Answers, OwnTimes, Parts
from solver.costs.devices import Floats, Ints
from solver.deadline import expired
from solver.problem import Problem
from solver.slopes.rooms import Rooms

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
# What a price of own time weighs, in steps, beside that of a threshold.
SECONDS_WEIGHT = 1e6
SMALLEST = 1e-12
# Rounding of a sum over layers, relative to the largest terms.
ROUNDING = 1e-13


def lagrangian_bound(
    problem: Problem, rooms: Rooms, incumbent: Ints, value: float, work: float = WORK
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
    work : float
        `WORK`, or less.
    """
    split = Split.of(problem, rooms, incumbent)
    steps = split.steps(work)
    return split.settled(split.descend(split.at_rest(), value, steps)[0])


class State(NamedTuple):
    """Multipliers, (R, L, G) and one more group for a server, with prices.

    Of capacity as in `solver.capped.parts.Answers`, and of a second of all own times.
    """

    multipliers: Floats
    price: Floats
    second: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The problem, one part a group.

    Parameters
    ----------
    parts : Parts
    incumbent : array of int, shape (L,)
        Shared ranks, 0 where nobody adapts the layer.
    budget : int or None
        Largest sum of the ranks; multipliers have the server's in the last place then.
    times : OwnTimes or None
        Where own times are priced.
    """

    parts: Parts
    incumbent: Ints
    budget: int | None
    times: OwnTimes | None = None

    @classmethod
    def of(
        cls, problem: Problem, rooms: Rooms, incumbent: Ints, times: OwnTimes | None = None
    ) -> Self:
        """For optimistic rooms."""
        return cls(
            parts=Parts.of(problem, rooms),
            incumbent=incumbent,
            budget=problem.question.budgets.rank_budget,
            times=times,
        )

    def steps(self, work: float) -> int:
        """How many steps that much work allows."""
        cells = self.parts.worth.size * (PRICES + len(NEAR))
        return int(np.clip(work / cells, FEWEST, MOST))

    def settled(self, state: State, prices: int = LAST_PRICES) -> float:
        """The bound, in double precision, by so many prices of capacity."""
        priced = self._priced(state.second)
        return priced.total(state, priced.answers(state.multipliers, prices, state.price))

    def answers(self, multipliers: Floats, prices: int, price: Floats) -> Answers:
        """Every group's answer, by so many prices and those near the last."""
        own = multipliers[:, :, : len(self.parts.weights)]
        return self.parts.answers(own, self.parts.prices(prices, price))

    def total(self, state: State, answers: Answers) -> float:
        """Values of all groups, what is left in the sums of the multipliers, and rounding."""
        multipliers, total = state.multipliers, float(answers.values.sum())
        if self.budget is not None:
            total += self._server(multipliers[:, :, -1])[0]
        rounding = float(np.abs(multipliers).max(axis=0).sum()) + abs(total)
        if self.times is not None:
            total -= state.second * self.times.needed_s
        least = float(multipliers.sum(axis=2).min(axis=0).sum())
        return total - least + ROUNDING * rounding

    def _priced(self, second: float) -> Self:
        """The same where a second of own time has a price."""
        if self.times is None:
            return self
        return replace(self, parts=self.parts.priced(self.times, second))

    def at_rest(self, second: float = 0.0) -> State:
        """Where every group is content with the incumbent."""
        parts = self._priced(second).parts
        rest = parts.at_rest(self.incumbent, LAST_PRICES)
        value = parts.own_value(rest)
        # A layer that nobody may adapt earns nothing.
        value = np.where(np.isfinite(value), value, 0.0)
        tied = parts.room[-1] < parts.sizes[-1].sum()
        share = np.where(tied | ~tied.any(), parts.weights, 0.0)
        multipliers = value.sum(axis=2, keepdims=True) * (share / share.sum()) - value
        if self.budget is not None:
            multipliers = np.pad(multipliers, ((0, 0), (0, 0), (0, 1)))
        return State(multipliers, rest.price, second)

    def descend(
        self,
        start: State,
        value: float,
        steps: int,
        length: float = FIRST_STEP,
        enough: float = -np.inf,
    ) -> tuple[State, float]:
        """Follow subgradients; the best place, and what bounds there in single precision.

        Parameters
        ----------
        start : State
        value : float
            Utility that is aimed at.
        steps : int
            Most steps.
        length : float
            First share of Polyak's step.
        enough : float
            A bound that is low enough.
        """
        now, best, least = start, start, np.inf
        stalled, direction, late = 0, None, 0.0
        patience = max(PATIENCE, int(PATIENT_SHARE * steps))
        # A second is counted in what the plan earns in one.
        unit = 0.0 if self.times is None else value / self.times.round_s
        for _ in range(steps):
            priced = self._priced(now.second)
            answers = priced.answers(now.multipliers.astype(np.float32), PRICES, now.price)
            bound, now = priced.total(now, answers), now._replace(price=answers.price)
            if bound < least:
                best, least, stalled = now, bound, 0
            else:
                stalled += 1
            if least <= max(value * (1 + GAP), enough) or length < SHORTEST_STEP or expired():
                break
            if stalled == patience:
                now, direction = best, None
                length, stalled = length / 2, 0
                continue
            taken, spare_s = priced.slopes(now.multipliers, answers)
            spare = unit * spare_s
            if not taken.any() and not spare:
                # All agree: these multipliers are the best.
                break
            if direction is None:
                direction, late = taken, spare
            else:
                direction = DEFLECTION * direction + (1 - DEFLECTION) * taken
                late = DEFLECTION * late + (1 - DEFLECTION) * spare
            # Deflection may nearly cancel a direction; steps must not grow for that.
            square = max(_square(direction, late), _square(taken, spare) / 10)
            step = length * (bound - value) / square
            multipliers = now.multipliers - step * np.cumsum(direction, axis=0)
            second = now.second - step * SECONDS_WEIGHT * late * unit
            now = self._at_price(now._replace(multipliers=multipliers), max(second, 0.0))
        return best, least

    def _at_price(self, state: State, second: float) -> State:
        """The same at another price of own time.

        Whoever fills a round pays as much more for capacity as the time that this takes earns.
        """
        if self.times is None:
            return state
        unit_s = self.times.slope_s[0] / (
            self.parts.weights * self.parts.sizes[-1, 0] / self.parts.ranks[-1]
        )
        shifted = np.maximum(state.price + (second - state.second) * unit_s, 0.0)
        price = np.where(state.price > 0, shifted, 0.0)
        return state._replace(price=price, second=second)

    def slopes(self, multipliers: Floats, answers: Answers) -> tuple[Floats, float]:
        """Subgradients: by thresholds, and by how much own times are longer than they must be.

        Steps are taken in prices of the thresholds ``r_j >= rank``, not of the ranks one by
        one: a price of one rank makes a group dodge to the next, that of a threshold moves all
        beyond it.
        """
        choice = self._choice(multipliers, answers)
        beyond = choice >= np.arange(len(self.parts.ranks))[:, None, None]
        return beyond - beyond.mean(axis=2, keepdims=True), self._spare_s(choice, answers)

    def _choice(self, multipliers: Floats, answers: Answers) -> Ints:
        """Index of the rank that each group takes, (L, G); the incumbent's among equals."""
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
        return np.where(rest, at[:, None], choice)

    def _spare_s(self, choice: Ints, answers: Answers) -> float:
        """By how much own times are longer than they must be."""
        if self.times is None:
            return 0.0
        groups = np.arange(len(self.parts.weights))
        index = np.minimum(choice[:, : len(groups)], answers.cap)
        adapted = np.arange(len(index))[:, None] < answers.depth
        own_s = np.where(adapted, self.parts.ranks[index] * self.times.slope_s, 0.0).sum()
        own_s += self.times.fixed_s[answers.depth, groups].sum()
        return float(own_s) - self.times.needed_s

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


def _square(direction: Floats, late: float) -> float:
    """Square of its length in prices of thresholds and of own time."""
    return float((direction**2).sum()) + SECONDS_WEIGHT * late**2
