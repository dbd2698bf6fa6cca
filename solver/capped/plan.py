"""Capped ranks: shared ranks, of which a device may take no more than a cap of its own.

Device i adapts its last k_i layers at ranks ``min(r_l, cap_i)``. For given ranks every device
answers alone: the depth and the largest cap there that fits, of largest gain. So the search
is over the shared ranks only, one layer at a time with all devices answering, from several
starts, the best shared plan among them (a cap at the largest rank is no cap). The bound is
that of `solver.capped.bound`, or of ranks of its own for every device where that is lower.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import numpy as np

from solver.allocation import LEFT_OUT, Allocation, device_gains, fits, utility
from solver.capped.bound import GAP, QUICK_WORK, WORK, lagrangian_bound
from solver.costs.capacity import capacity
from solver.costs.devices import Floats, Ints
from solver.costs.resource import Costs
from solver.deadline import expired
from solver.dp.shared import shared_ranks
from solver.errors import Infeasible
from solver.least import least_allocation
from solver.outcome import Outcome, relative_gap
from solver.problem import Problem
from solver.slopes.rooms import Rooms
from solver.uniform import bisect_rows
from solver.wait.deadlines import Answers
from solver.wait.limit import within_wait

# Ranks between which ramps are starts, and starts that are climbed from.
RAMPS, CLIMBS = 6, 6
# How many times as much everybody carries, for starts.
EASED = (1.3, 2.0, 4.0, 1e9)
# Relative gap that is good enough; the search for a bound goes on to a tenth of it.
PROMISED_GAP = 1e-3
# Relative gain below which a step is rounding.
SMALLEST_STEP = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class CappedRanks:
    """Shared ranks at every cap.

    Parameters
    ----------
    problem : Problem
    rows : array of int, shape (M, L)
        From the output, by rising cap.
    gains : array, shape (M, L + 1)
        Of a device, by row and depth.
    """

    problem: Problem
    rows: Ints
    gains: Floats

    @classmethod
    def of(cls, problem: Problem, ranks: Ints) -> Self:
        """Cap shared ranks, 0 where nobody may adapt the layer."""
        caps = problem.ranks[problem.ranks <= ranks.max(initial=problem.ranks[0])]
        rows = np.minimum(ranks, caps[:, None])
        return cls(problem=problem, rows=rows, gains=device_gains(problem, rows))

    def answers(self, costs: Costs) -> Answers:
        """By depth the largest cap under some limits."""
        n, depths = len(costs.devices), self._depths()
        size = np.pad(np.cumsum(self.rows * costs.sizes, axis=1), ((0, 0), (1, 0)))
        row = np.zeros((len(depths), n), dtype=np.int64)
        gain, parameters = np.full(row.shape, -np.inf), np.zeros(row.shape)
        for at, k in enumerate(depths.tolist()):
            cap = bisect_rows(n, len(self.rows), partial(fits, costs, self.rows, k=k))
            row[at] = cap.clip(0)
            gain[at] = np.where(cap >= 0, self.gains[row[at], k], -np.inf)
            parameters[at] = size[row[at], k]
        return Answers(depth=depths, row=row, parameters=parameters, gain=gain)

    # A larger cap gains more and takes longer: no plan has more than the largest.
    most = answers

    def allocation(self, answers: Answers, chosen: Ints) -> Allocation:
        """What devices train that choose these answers, shape (N,)."""
        row = answers.row[chosen, np.arange(len(chosen))]
        return Allocation(rows=self.rows, row=row, depth=answers.depth[chosen])

    def best(self, answers: Answers) -> Allocation:
        """Each device's answer of most gain, the shallowest of them; -1 deep without one."""
        left_out = np.isneginf(answers.gain.max(axis=0, initial=-np.inf))
        if left_out.all():
            row = np.zeros(len(left_out), dtype=np.int64)
            return Allocation(rows=self.rows, row=row, depth=np.full_like(row, LEFT_OUT))
        found = self.allocation(answers, answers.gain.argmax(axis=0))
        return replace(found, depth=np.where(left_out, LEFT_OUT, found.depth))

    def _depths(self) -> Ints:
        least, most = self.problem.question.min_depth, int((self.rows[-1] > 0).sum())
        return np.arange(least, most + 1)


def plan_capped(
    problem: Problem, start: Outcome | Infeasible, most: float, *, thorough: bool
) -> Outcome:
    """Find shared ranks, depths and caps of large utility, with a bound.

    Parameters
    ----------
    problem : Problem
    start : Outcome or Infeasible
        A plan of the same question with shared ranks, or why none was found.
    most : float
        Utility that no plan with ranks of their own for every device exceeds.
    thorough : bool
        Whether to take seconds for a tight bound.
    """
    known = start.allocation if isinstance(start, Outcome) else None
    least = least_allocation(problem) if known is None else known
    # What nobody adapts has no rank, and takes nothing from a budget on the ranks.
    adapted = np.arange(problem.layers) < least.depth.max()
    ranks = best_ranks(problem, np.where(adapted, least.rows[0], 0))
    kept = [each for each in (_finished(problem, ranks), known) if each is not None]
    if not kept and isinstance(start, Infeasible):
        raise start
    allocation = max(kept, key=lambda each: utility(problem, each))
    value = utility(problem, allocation)
    bound = most
    if relative_gap(value, most, "utility") > GAP:
        rooms, work = Rooms.of(problem, optimistic=True), WORK if thorough else QUICK_WORK
        bound = min(bound, lagrangian_bound(problem, rooms, ranks, value, work))
    return Outcome(
        allocation=allocation,
        value=value,
        bound=max(bound, value),
        method="search over ranks with caps, bound by Lagrangian decomposition",
        target_gap=PROMISED_GAP,
    )


def _finished(problem: Problem, ranks: Ints) -> Allocation | None:
    """Every device's answer to the ranks, within the mean wait; None if one has none."""
    found = answer(problem, ranks)
    short = (found.depth < problem.question.min_depth).any()
    return None if short else within_wait(problem, found)


def answer(problem: Problem, ranks: Ints) -> Allocation:
    """Best depth and cap of every device for given shared ranks, by the true costs.

    Parameters
    ----------
    problem : Problem
    ranks : array of int, shape (L,)
        From the output; 0 where nobody may adapt the layer.
    """
    capped = CappedRanks.of(problem, ranks)
    return capped.best(capped.answers(problem.costs))


def best_ranks(problem: Problem, shared: Ints) -> Ints:
    """Shared ranks of large utility when every device answers with depth and cap, (L,)."""
    climb = _Climb.of(problem)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Climb:
    """Coordinate ascent on the utility of shared ranks, by conservative capacities."""

    rooms: Rooms
    choices: Ints
    gains: Floats
    budget: int | None

    @classmethod
    def of(cls, problem: Problem) -> Self:
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
        """Utility of the groups' best answers."""
        depth = int((ranks > 0).sum())
        capped = np.minimum(ranks[:depth, None], self.choices)
        index = np.searchsorted(self.choices, capped)
        gain = np.cumsum(np.take_along_axis(self.gains[:depth], index, axis=1), axis=0)
        size = np.cumsum(capped * self.rooms.steps[:depth, None], axis=0)
        best: Floats = np.zeros(len(self.rooms.weights))
        for k in range(depth):
            cap = np.searchsorted(size[k], self.rooms.room[:, k + 1], side="right") - 1
            np.maximum(best, np.where(cap >= 0, gain[k][cap], 0.0), out=best)
        return float(np.dot(self.rooms.weights, best))

    def by_rank(self, ranks: Ints, layer: int) -> Floats:
        """Utility by the rank of one layer, the others held, shape (R,).

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
        best = np.zeros((len(self.rooms.weights), len(choice)))
        for k in range(depth):
            room = self.rooms.room[:, k + 1, None]
            if k < layer:
                cap = np.searchsorted(size[k], room, side="right") - 1
                value = gain[k][cap]
            else:
                below = np.searchsorted(size[k] + own_size, room, side="right") - 1
                beyond = np.searchsorted(size[k], room - own_size, side="right") - 1
                cap = np.where(below < choice, below, beyond)
                value = gain[k][cap] + own[np.minimum(cap, choice)]
            np.maximum(best, np.where(cap >= 0, value, 0.0), out=best)
        return np.asarray(self.rooms.weights @ best)

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
