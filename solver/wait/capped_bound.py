"""A bound on capped ranks under a mean wait, by windows of round times.

With T in [a, b] a plan fits the rooms of b, and own times add up to C (a - epsilon) at least.
In the decomposition of `solver.capped.bound` a second of own time has a price then: over its
ranks a group's own time is a line at every depth, so the groups still answer alone.

First the wait is dropped up to the last round time in question. Where that is not close, only
rounds a little shorter than the best plan's are bounded so, the others by windows. The one
that ends with the best plan's round descends furthest; each of the others starts where its
neighbour ended, and the worst are halved.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise

import numpy as np

from solver.capped.bound import FIRST_STEP, WORK, Split, State
from solver.capped.parts import OwnTimes
from solver.capped.plan import CappedRanks
from solver.costs.devices import Floats, Ints
from solver.costs.resource import TOLERANCE
from solver.deadline import expired
from solver.problem import Problem
from solver.slopes.rooms import MOST_GROUPS, Rooms, added, room_of_each
from solver.wait.knapsack import Choices
from solver.wait.relax import under_deadline

# Ends of windows, as shares of the best plan's round time before it, and of what is left to
# the last one after it.
BEFORE, AFTER = (1.5e-3, 5e-4), (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0)
# Share of the first window's steps that each of the others takes, at least how many, the first
# share of Polyak's step, and how many windows are halved.
SHARE, FEWEST, LENGTH, HALVED = 1 / 12, 8, 0.25, 4
# Relative gaps from which on windows are not descended any further, and not halved.
GOOD, CLOSE = 5e-4, 8e-4
# Prices of capacity in the last look at a window; more where it is not close.
WINDOW_PRICES = 32
# Work where the wait is dropped for shorter rounds.
WITHOUT = WORK / 2


def bound_waiting(
    problem: Problem, ranks: Ints, value: float, around_s: float, last_s: float
) -> float:
    """Bound the utility of every plan with capped ranks that keeps the mean wait.

    Parameters
    ----------
    problem : Problem
    ranks : array of int, shape (L,)
        Good shared ranks.
    value : float
        Utility of a plan with them.
    around_s : float
        Its round time.
    last_s : float
        Round time beyond which no plan is worth more.
    """
    dropped = _without_wait(problem, ranks, value, last_s, WORK, FIRST_STEP)
    if dropped <= value * (1 + CLOSE) or last_s <= around_s or expired():
        return dropped
    first_s, *before = (around_s * (1 - share) for share in BEFORE)
    after = (around_s + share * (last_s - around_s) for share in AFTER)
    windows = _Windows.of(problem, ranks, value, [first_s, *before, around_s, *after])
    if windows is None:
        return dropped
    shorter = _without_wait(problem, ranks, value, first_s, WITHOUT, LENGTH)
    return min(dropped, windows.bound(shorter))


def _without_wait(
    problem: Problem, ranks: Ints, value: float, last_s: float, work: float, length: float
) -> float:
    """Bound plans whose round takes so long at most, without the wait."""
    within = problem.under(round_time_s=last_s, mean_wait_s=None)
    rooms = Rooms.of(within, optimistic=True)
    if (rooms.room < 0).all(axis=1).any():
        return -np.inf
    split = Split.of(within, rooms, ranks)
    start, steps = split.at_rest(), split.steps(work)
    return split.settled(split.descend(start, value, steps, length)[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Windows:
    """Round times between some ends, the groups of devices the same within all of them.

    Parameters
    ----------
    first : array of int, shape (G,)
        A device of each group.
    group : array of int, shape (N,)
    fixed_s, slope_s : arrays, shape (L + 1, G) and (L, G)
        As in `solver.capped.bound.OwnTimes`.
    """

    problem: Problem
    ranks: Ints
    value: float
    ends: Sequence[float]
    first: Ints
    group: Ints
    fixed_s: Floats
    slope_s: Floats

    @classmethod
    def of(
        cls, problem: Problem, ranks: Ints, value: float, ends: Sequence[float]
    ) -> "_Windows | None":
        """Group devices of like room and own time; None where there are too many for that."""
        fixed_s, slope_s = own_times(problem)
        rooms = [_room(problem, end_s)[0] for end_s in ends[1:]]
        # Who can carry everything gains most and takes longest with everything.
        steps = _room(problem, ends[-1])[1]
        most = np.append(0, np.cumsum(steps)) * problem.ranks[-1]
        least = problem.question.min_depth
        whole = np.logical_and.reduce([(room == most)[:, least:].all(axis=1) for room in rooms])
        times = np.concatenate([fixed_s, slope_s], axis=1) / problem.weights[:, None]
        key = np.concatenate([*rooms, np.where(whole[:, None], 0.0, times)], axis=1)
        _, first, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
        if len(first) > MOST_GROUPS:
            return None
        group = group.reshape(-1)
        return cls(
            problem=problem,
            ranks=ranks,
            value=value,
            ends=ends,
            first=first,
            group=group,
            fixed_s=added(fixed_s, group),
            slope_s=added(slope_s, group),
        )

    def bound(self, settled: float) -> float:
        """Bound all windows; none needs a lower bound than what is settled."""
        order, windows, at = count(), list(pairwise(self.ends)), len(BEFORE) - 1
        start, steps = self._start(windows[at])
        centre = self._descend(windows[at], start, settled, steps)
        steps, enough = max(int(SHARE * steps), FEWEST), max(settled, self.value * (1 + GOOD))
        queue = [(-centre[1], next(order), windows[at], centre[0])]
        for side in (windows[:at][::-1], windows[at + 1 :]):
            state = centre[0]
            for window in side:
                state, bound = self._descend(window, state, enough, steps)
                heapq.heappush(queue, (-bound, next(order), window, state))
        for _ in range(HALVED):
            if -queue[0][0] <= max(settled, self.value * (1 + CLOSE)) or expired():
                break
            _, _, (start_s, end_s), state = heapq.heappop(queue)
            middle_s = (start_s + end_s) / 2
            for window in ((start_s, middle_s), (middle_s, end_s)):
                half, bound = self._descend(window, state, enough, steps)
                heapq.heappush(queue, (-bound, next(order), window, half))
        bound = settled
        for above, _, window, state in queue:
            # Where there is no room there is nothing to settle.
            if above < np.inf:
                split = self._split(window)
                most = split.settled(state, WINDOW_PRICES)
                close = most <= max(bound, self.value * (1 + CLOSE))
                bound = max(bound, most if close else split.settled(state))
        return bound

    def _descend(
        self, window: tuple[float, float], start: State, enough: float, steps: int
    ) -> tuple[State, float]:
        split = self._split(window)
        # Where somebody has no room there is no plan.
        if (split.parts.room < 0).all(axis=0).any():
            return start, -np.inf
        return split.descend(start, self.value, steps, LENGTH, enough)

    def _start(self, window: tuple[float, float]) -> tuple[State, int]:
        """Content with the ranks where own time has the price of the longest round; steps."""
        problem, split = self.problem, self._split(window)
        times = self._split((window[1], window[1])).times
        assert times is not None
        fixed_s, slope_s = own_times(problem)
        capped = CappedRanks.of(problem, self.ranks)
        answers = capped.answers(under_deadline(problem.costs, window[1]))
        every = np.arange(len(fixed_s))
        spent_s = np.cumsum(slope_s[:, :, None] * capped.rows.T, axis=1)
        spent_s = np.concatenate([np.zeros_like(spent_s[:, :1]), spent_s], axis=1)
        own_s = fixed_s.T[answers.depth] + spent_s[every, answers.depth[:, None], answers.row]
        none = np.isneginf(answers.gain)
        choices = Choices(
            gain=answers.gain * problem.weights,
            own_s=np.where(none, 0.0, own_s),
            needed_s=times.needed_s,
        )
        found = None if none.all(axis=0).any() else choices.lowest()
        second = 0.0
        if found is not None and found[1] is not found[2]:
            _, waits, keeps = found
            second = (waits.gain - keeps.gain) / (keeps.spare_s - waits.spare_s)
        return split.at_rest(second), split.steps(WORK)

    def _split(self, window: tuple[float, float]) -> Split:
        start_s, end_s = window
        problem, total = self.problem, float(self.problem.costs.devices.count.sum())
        room, steps = _room(problem, end_s)
        weights = added(problem.weights[:, None], self.group)[0]
        epsilon_s = problem.question.budgets.mean_wait_s
        assert epsilon_s is not None
        times = OwnTimes(
            fixed_s=self.fixed_s,
            slope_s=self.slope_s,
            needed_s=total * (start_s - epsilon_s * (1 + 2 * TOLERANCE)),
            round_s=total * end_s,
        )
        rooms = Rooms(weights=weights, room=room[self.first], steps=steps, group=self.group)
        return Split.of(problem, rooms, self.ranks, times)


def own_times(problem: Problem) -> tuple[Floats, Floats]:
    """Own times, at most: without ranks (N, L + 1), and of a rank (N, L); of all of a row."""
    costs, q, c = problem.costs, problem.costs.seconds, problem.costs.devices.class_index
    depths = range(problem.layers + 1)
    fixed_s: Floats = np.stack([q.fixed(c, k) + q.offset for k in depths], axis=1)
    slope_s: Floats = q.scale[:, None] * q.per_rank[c] + q.wire[:, None] * costs.sizes
    if q.flat is not None:
        slope_s += q.flat[:, None]
    count = costs.devices.count.astype(np.float64)[:, None]
    # With a cache, one layer may take less time than none.
    return count * np.maximum.accumulate(fixed_s, axis=1), count * slope_s


def _room(problem: Problem, end_s: float) -> tuple[Ints, Ints]:
    """As `solver.slopes.rooms.room_of_each`, within a round time."""
    within = replace(problem, costs=under_deadline(problem.costs, end_s))
    return room_of_each(within, optimistic=True)
