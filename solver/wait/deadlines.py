"""Most utility under a mean wait where every device has ranks of its own.

With T the realised round time, c_i the counts, C their sum and epsilon the budget, the wait
is kept exactly when the devices' own times add up to enough:

    sum_i c_i t_i  >=  C (T - epsilon).

Under a deadline b >= T device i gains at most g_ik at depth k, and takes at most t_ik, both at
its capacity. What a device takes beyond a <= T makes up for no more than T - a of what is asked
for, so for all T in [a, b]

    sum_i c_i min(t_ik, a)  >=  C (a - epsilon),

a knapsack (`solver.wait.knapsack`) that bounds every plan; at a = b its solution is one.
Intervals are halved, best bound first.
"""

import heapq
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple, Self

import numpy as np

from solver.allocation import Allocation, longest_round_s, mean_wait_s
from solver.costs.devices import Floats
from solver.costs.resource import TOLERANCE
from solver.deadline import expired
from solver.least import least_round_time_s
from solver.problem import Problem
from solver.wait.answers import Answering, Answers
from solver.wait.incumbent import Incumbent
from solver.wait.knapsack import Choices
from solver.wait.relax import under_deadline

# Gap at which the search stops.
GAP = 1e-6
# Intervals that are looked at, four times as many where devices are few: in all so many of
# each of them.
MOST, LOOKED_AT = 100, 40_000
# Intervals of round times this narrow, relatively, are not halved, or are narrow enough to say
# how late a round may end.
SAME, CLOSE_TIMES = 1e-12, 1e-4
# Deadlines at which a short wait is looked for.
DEADLINES = 40


class Effort(NamedTuple):
    """How far a search goes.

    Parameters
    ----------
    gap : float
        Relative gap at which it stops.
    looks, without : int
        Intervals that are looked at, once there is a plan and as long as there is none.
    """

    gap: float = GAP
    looks: int = MOST
    without: int = 1000

    @classmethod
    def thorough(cls, devices: int) -> Self:
        """More looks for fewer devices: of many, each is a smaller part of what is asked."""
        return cls(looks=max(MOST, min(LOOKED_AT // devices, 4 * MOST)))


USUAL = Effort()


@dataclass(slots=True, kw_only=True)
class _Search(Incumbent):
    """Incumbent and what is asked; see `search_deadlines`."""

    upper: Answering
    lower: Answering
    gap: float = GAP
    value: float = -np.inf
    deadlines: set[float] = field(default_factory=set)

    @property
    def floor(self) -> float:
        """Bounds up to here are settled; minus infinity as long as there is no plan."""
        return self.value + self.gap * max(self.value, 0.0)

    @property
    def patient_s(self) -> float:
        """The largest wait, and what the checker forgives."""
        return self.epsilon_s * (1 + 2 * TOLERANCE)

    def choices(self, answers: Answers, start_s: float, end_s: float) -> Choices | None:
        """Answers to round times from one to another; None where a device has none."""
        problem, counts = self.problem, self.problem.costs.devices.count
        none = np.isneginf(answers.gain)
        if none.all(axis=0).any():
            return None
        return Choices(
            gain=answers.gain * problem.weights,
            own_s=np.where(none, 0.0, _most_s(problem, answers, start_s) * counts),
            needed_s=float(counts.sum()) * (start_s - self.patient_s),
        )

    def bound(self, start_s: float, end_s: float) -> float:
        """Bound all plans with such round times; minus infinity where there are none."""
        answers = self.upper.most(under_deadline(self.problem.costs, end_s))
        choices = self.choices(answers, start_s, end_s)
        found = None if choices is None else choices.lowest()
        return -np.inf if found is None else found[0]

    def left_out(self, start_s: float, end_s: float) -> float:
        """Bound all plans with such round times, whoever they leave out."""
        problem, counts = self.problem, self.problem.costs.devices.count
        answers = self.upper.most(under_deadline(problem.costs, end_s))
        none, nobody = np.isneginf(answers.gain), np.zeros((1, len(counts)))
        spare_s = _most_s(problem, answers, start_s) - (start_s - self.patient_s)
        choices = Choices(
            gain=np.concatenate([answers.gain * problem.weights, nobody]),
            own_s=np.concatenate([np.where(none, 0.0, spare_s * counts), nobody]),
            needed_s=0.0,
        )
        found = choices.lowest()
        return 0.0 if found is None else found[0]

    def plan(self, deadline_s: float) -> None:
        """Plan for one deadline."""
        if deadline_s in self.deadlines:
            return
        self.deadlines.add(deadline_s)
        answers = self.lower.answers(under_deadline(self.problem.costs, deadline_s))
        choices = self.choices(answers, deadline_s, deadline_s)
        found = None if choices is None else choices.lowest()
        if choices is not None and found is not None:
            chosen = choices.fill(*found[1:])
            if choices.line(chosen).gain > self.value:
                self.consider(self.lower.allocation(answers, chosen))


def search_deadlines(
    problem: Problem,
    upper: Answering,
    lower: Answering,
    start: Allocation,
    most: float,
    epsilon_s: float,
    effort: Effort = USUAL,
) -> tuple[Allocation | None, float]:
    """Find ranks and depths that keep the mean wait.

    Parameters
    ----------
    problem : Problem
    upper, lower : Answering
        What devices answer at most, and what they can.
    start : Allocation
        Best allocation without the wait.
    most : float
        Its bound.
    epsilon_s : float
        Largest mean wait, seconds.
    effort : Effort

    Returns
    -------
    tuple of (Allocation or None, float)
        Best allocation found, and a bound on the utility of every one that keeps the wait:
        minus infinity where there is none.
    """
    state = _Search(
        problem=problem, epsilon_s=epsilon_s, upper=upper, lower=lower, gap=effort.gap
    )
    state.consider(start)
    whole = _round_times(problem)
    if whole is None:
        return state.allocation, most
    order, settled = count(), -np.inf
    queue = [(-most, next(order), *whole)]
    for number in range(max(effort.looks, effort.without)):
        if not queue or -queue[0][0] <= state.floor or expired():
            break
        if number >= (effort.without if state.allocation is None else effort.looks):
            break
        above, _, start_s, end_s = heapq.heappop(queue)
        bound = min(state.bound(start_s, end_s), -above)
        if bound <= state.floor:
            settled = max(settled, bound)
            continue
        state.plan(end_s)
        if end_s - start_s <= SAME * end_s:
            settled = max(settled, bound)
            continue
        middle_s = (start_s + end_s) / 2
        for part in ((start_s, middle_s), (middle_s, end_s)):
            heapq.heappush(queue, (-bound, next(order), *part))
    bound = max(-queue[0][0] if queue else -np.inf, settled)
    if state.allocation is None:
        return None, bound
    return state.allocation, min(max(bound, state.value), most)


def kept_within(
    problem: Problem, lower: Answering, deadline_s: float, epsilon_s: float
) -> Allocation | None:
    """A good plan with such a deadline that keeps the mean wait; None where none is found."""
    state = _Search(problem=problem, epsilon_s=epsilon_s, upper=lower, lower=lower)
    state.plan(deadline_s)
    return state.allocation


def _most_s(problem: Problem, answers: Answers, counted_s: float) -> Floats:
    """Own time of every answer, at most, as far as it counts, shape (M, N)."""
    costs, q, c = problem.costs, problem.costs.seconds, problem.costs.devices.class_index
    most_s = np.full(answers.row.shape, counted_s * (1 + TOLERANCE))
    if answers.own_s is not None:
        np.minimum(most_s, answers.own_s, out=most_s)
    ratio = np.maximum.accumulate(q.per_rank / costs.sizes, axis=1)
    fewest = np.minimum.accumulate(costs.sizes)
    for row, k, size in zip(most_s, answers.depth.tolist(), answers.parameters, strict=True):
        own_s = q.fixed(c, k) + q.offset
        if k > 0:
            slope_s = q.scale * ratio[c, k - 1] + q.wire
            if q.flat is not None:
                slope_s += q.flat / fewest[k - 1]
            # What costs no time takes none, however much of it there may be.
            with np.errstate(invalid="ignore"):
                own_s += slope_s * size
        np.fmin(row, own_s, out=row)
    return most_s


def latest_s(
    problem: Problem, upper: Answering, value: float, epsilon_s: float
) -> float | None:
    """Round time, a little later than it is, beyond which no plan is worth more than `value`.

    None where none is at any round time.
    """
    state = _Search(problem=problem, epsilon_s=epsilon_s, upper=upper, lower=upper, gap=0.0)
    state.value = value
    whole = _round_times(problem)
    # The latest part is looked at first.
    parts = [] if whole is None else [whole]
    while parts:
        start_s, end_s = parts.pop()
        if state.bound(start_s, end_s) <= state.floor:
            continue
        if end_s - start_s <= CLOSE_TIMES * end_s or expired():
            return end_s
        middle_s = (start_s + end_s) / 2
        parts += [(start_s, middle_s), (middle_s, end_s)]
    return None


def most_kept(problem: Problem, upper: Answering, most: float, epsilon_s: float) -> float:
    """Utility that no plan which keeps the wait exceeds, whoever it leaves out.

    Who is left out waits for nobody, so own times count from T - epsilon on, and it adds 0.
    `most` is a bound without the wait.
    """
    state = _Search(problem=problem, epsilon_s=epsilon_s, upper=upper, lower=upper)
    longest_s, order = longest_round_s(problem), count()
    budget_s = problem.question.budgets.round_time_s
    end_s = longest_s if budget_s is None else min(longest_s, budget_s)
    queue = [(-most, next(order), 0.0, end_s * (1 + TOLERANCE))]
    for _ in range(MOST):
        above, _, start_s, end_s = queue[0]
        if end_s - start_s <= GAP * end_s or expired():
            break
        middle_s = (start_s + end_s) / 2
        heapq.heappop(queue)
        for low_s, high_s in ((start_s, middle_s), (middle_s, end_s)):
            bound = min(state.left_out(low_s, high_s), -above)
            heapq.heappush(queue, (-bound, next(order), low_s, high_s))
    return -queue[0][0]


def shortest_wait(problem: Problem, lower: Answering) -> Allocation | None:
    """A plan that waits little: everybody busy as long as one of some deadlines allows.

    None where there is no plan. The wait that `problem` may ask for is not looked at.
    """
    whole, found = _round_times(problem), []
    state = _Search(problem=problem, epsilon_s=0.0, upper=lower, lower=lower)
    for deadline_s in () if whole is None else np.geomspace(*whole, DEADLINES).tolist():
        answers = lower.answers(under_deadline(problem.costs, deadline_s))
        choices = state.choices(answers, deadline_s, deadline_s)
        if choices is not None:
            found.append(lower.allocation(answers, choices.longest().chosen))
    return min(found, key=lambda each: mean_wait_s(problem, each), default=None)


def _round_times(problem: Problem) -> tuple[float, float] | None:
    """The shortest and the longest round that a plan may have; None where there is no plan."""
    least_s = least_round_time_s(problem)
    if least_s is None:
        return None
    budget_s = problem.question.budgets.round_time_s
    longest_s = longest_round_s(problem)
    end_s = longest_s if budget_s is None else min(longest_s, budget_s)
    return least_s * (1 - TOLERANCE), end_s * (1 + TOLERANCE)
