"""Climbing to good shared ranks: one layer at a time, every group answering with depth and cap.

Starts are the best shared ranks, those that would be best if everybody carried more, and
ramps. Where a second of own time has a price (`solver.wait.capped_climb`), what a group earns
by being busy counts beside its gain.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np

from solver.costs.capacity import capacity
from solver.costs.devices import Floats, Ints
from solver.deadline import expired
from solver.dp.shared import shared_ranks
from solver.problem import Problem
from solver.slopes.rooms import Rooms

# Ranks between which ramps are starts, and starts that are climbed from.
RAMPS, CLIMBS = 6, 6
# How many times as much everybody carries, for starts.
EASED = (1.3, 2.0, 4.0, 1e9)
# Relative gain below which a step is rounding.
SMALLEST_STEP = 1e-12


def best_ranks(problem: Problem, shared: Ints) -> Ints:
    """Shared ranks of large utility when every device answers with depth and cap, (L,)."""
    climb = Climb.of(problem)
    known = climb.starts([shared, *_eased(problem)])
    starts = sorted(known, key=climb.value, reverse=True)[:CLIMBS]
    return max((climb.ascend(ranks) for ranks in starts), key=climb.value)


def _eased(problem: Problem) -> list[Ints]:
    """Best shared ranks if everybody carried more: caps let the weak join in."""
    table = capacity(problem.costs, problem.weights, int(problem.ranks[-1]), optimistic=False)
    found = []
    for ease in EASED:
        at = np.ceil(np.arange(table.reach.shape[1]) / ease).astype(np.int64)
        eased = replace(
            table,
            reach=table.reach[:, at],
            least=np.minimum(table.least * ease, len(at) - 1).astype(np.int64),
            units=None,
        )
        best = shared_ranks(
            eased,
            problem.gains,
            problem.ranks,
            min_depth=problem.question.min_depth,
            rank_budget=problem.question.budgets.rank_budget,
        )
        found += [] if best is None else [best.ranks]
    return found


class BusyTimes(NamedTuple):
    """Own times of groups, summed over their devices.

    Parameters
    ----------
    fixed_s : array, shape (L + 1, G)
        Without ranks, by depth.
    unit_s : array, shape (G,)
        Of a unit of the prefix sum, on average.
    """

    fixed_s: Floats
    unit_s: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Climb:
    """Coordinate ascent on the worth of shared ranks, by conservative capacities.

    Parameters
    ----------
    rooms : Rooms
    choices : array of int, shape (R,)
    gains : array, shape (L, R)
    budget : int or None
        Largest sum of the ranks.
    busy : BusyTimes or None
        Where a second of own time has a price.
    second : float
        That price.
    """

    rooms: Rooms
    choices: Ints
    gains: Floats
    budget: int | None
    busy: BusyTimes | None = None
    second: float = 0.0

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """Group the devices of a problem."""
        return cls(
            rooms=Rooms.of(problem, optimistic=False),
            choices=problem.ranks,
            gains=problem.gains,
            budget=problem.question.budgets.rank_budget,
        )

    def starts(self, shared: list[Ints]) -> list[Ints]:
        """Good shared ranks, and ramps on the layers that the budget allows."""
        ends = np.unique(np.linspace(0, len(self.choices) - 1, RAMPS).astype(np.int64))
        first, last = (e.ravel() for e in np.meshgrid(ends, ends))
        index = np.linspace(first, last, len(shared[0]), axis=1).round().astype(np.int64)
        ramps = self.choices[index]
        if self.budget is None:
            return [*(np.where(each > 0, each, self.choices[-1]) for each in shared), *ramps]
        return [*shared, *np.where(np.cumsum(ramps, axis=1) <= self.budget, ramps, 0)]

    def value(self, ranks: Ints) -> float:
        """Worth of the groups' best answers."""
        return float(self._answered(ranks)[0].sum())

    def line(self, ranks: Ints) -> tuple[float, float]:
        """Utility and own times of the groups' best answers."""
        assert self.busy is not None
        worth, own_s = self._answered(ranks)
        return float((worth - self.second * own_s).sum()), float(own_s.sum())

    def _answered(self, ranks: Ints) -> tuple[Floats, Floats]:
        """Worth of each group's best answer, and its own time (0 where none is known), (G,)."""
        depth, weights = int((ranks > 0).sum()), self.rooms.weights
        capped = np.minimum(ranks[:depth, None], self.choices)
        index = np.searchsorted(self.choices, capped)
        gain = np.cumsum(np.take_along_axis(self.gains[:depth], index, axis=1), axis=0)
        size = np.cumsum(capped * self.rooms.steps[:depth, None], axis=0)
        best, longest_s = self._bare()
        for k in range(depth):
            cap = np.searchsorted(size[k], self.rooms.room[:, k + 1], side="right") - 1
            worth, own_s = weights * gain[k][cap], 0.0
            if self.busy is not None:
                own_s = self.busy.fixed_s[k + 1] + self.busy.unit_s * size[k][cap]
                worth = worth + self.second * own_s
            better = (cap >= 0) & (worth > best)
            best = np.where(better, worth, best)
            longest_s = np.where(better, own_s, longest_s)
        return best, longest_s

    def _bare(self) -> tuple[Floats, Floats]:
        """Worth and own time of adapting nothing, or of nothing that fits, (G,)."""
        none = np.zeros(len(self.rooms.weights))
        if self.busy is None:
            return none, none
        own_s: Floats = np.where(self.rooms.room[:, 0] >= 0, self.busy.fixed_s[0], 0.0)
        return self.second * own_s, own_s

    def by_rank(self, ranks: Ints, layer: int) -> Floats:
        """Worth by the rank of one layer, the others held, shape (R,).

        A cap below the layer's rank is the layer's own rank, whichever rank that is; where none
        such is the largest that fits, the layer has its rank, and only the others are capped.
        """
        depth, choice = int((ranks > 0).sum()), np.arange(len(self.choices))
        others = np.minimum(ranks[:depth, None], self.choices)
        gains = np.take_along_axis(
            self.gains[:depth], np.searchsorted(self.choices, others), axis=1
        )
        others[layer], gains[layer] = 0, 0.0
        size = np.cumsum(others * self.rooms.steps[:depth, None], axis=0)
        gain, own = np.cumsum(gains, axis=0), self.gains[layer]
        own_size = self.choices * self.rooms.steps[layer]
        weights = self.rooms.weights[:, None]
        best = np.repeat(self._bare()[0][:, None], len(choice), axis=1)
        for k in range(depth):
            room = self.rooms.room[:, k + 1, None]
            if k < layer:
                cap = np.searchsorted(size[k], room, side="right") - 1
                value, held = gain[k][cap], size[k][cap]
            else:
                below = np.searchsorted(size[k] + own_size, room, side="right") - 1
                beyond = np.searchsorted(size[k], room - own_size, side="right") - 1
                cap = np.where(below < choice, below, beyond)
                at = np.minimum(cap, choice)
                value, held = gain[k][cap] + own[at], size[k][cap] + own_size[at]
            worth = weights * value
            if self.busy is not None:
                unit = self.second * self.busy.unit_s[:, None]
                worth = worth + unit * held + self.second * self.busy.fixed_s[k + 1, :, None]
            np.maximum(best, np.where(cap >= 0, worth, -np.inf), out=best)
        return np.asarray(best.sum(axis=0))

    def ascend(self, ranks: Ints) -> Ints:
        """Change one layer at a time to its best rank until none improves."""
        best = self.value(ranks)
        while True:
            before = best
            for layer in range(int((ranks > 0).sum())):
                if expired():
                    return ranks
                for near, value in self._neighbours(ranks, layer):
                    if value > best + SMALLEST_STEP * abs(best):
                        ranks, best = near, value
            if best == before:
                return ranks

    def _neighbours(self, ranks: Ints, layer: int) -> Iterator[tuple[Ints, float]]:
        """The best rank of one layer; what others pass the budget by is taken elsewhere."""
        values = self.by_rank(ranks, layer)
        spent = int(ranks.sum()) - int(ranks[layer])
        left = self.choices[-1] if self.budget is None else self.budget - spent
        within = int(np.searchsorted(self.choices, left, side="right"))
        choice = int(values[:within].argmax())
        yield _changed(ranks, layer, self.choices[choice]), float(values[choice])
        for rank in self.choices[within:].tolist():
            for other in np.flatnonzero(ranks):
                rest = int(left) - rank + int(ranks[other])
                if other != layer and rest >= self.choices[0]:
                    index = np.searchsorted(self.choices, rest, side="right") - 1
                    swapped = _changed(ranks, layer, rank)
                    swapped[other] = self.choices[index]
                    yield swapped, self.value(swapped)


def _changed(ranks: Ints, layer: int, rank: int) -> Ints:
    changed = ranks.copy()
    changed[layer] = rank
    return changed
