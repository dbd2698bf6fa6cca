"""Objectives other than the largest utility, each by a sequence of utility problems.

The largest utility U*(T) within a round time T is a step function that never falls. `time`
bisects it; `efficiency` bounds U*(T) / T on an interval [a, b] by U*(b) / a and splits the
interval of the largest bound.
"""

import heapq

import numpy as np

from profiler.schema import InputError
from solver.allocation import Allocation, cost
from solver.errors import Infeasible
from solver.exact import maximise_utility
from solver.explain import infeasible, least_ranks, least_round_time_s
from solver.outcome import Outcome
from solver.problem import Problem

TIME_GAP = 1e-9
EFFICIENCY_GAP = 1e-4
MAX_SPLITS = 1000


def round_time_s(problem: Problem, allocation: Allocation) -> float:
    """Time of the slowest device that takes part."""
    costs, part = problem.costs, allocation.taking_part
    seconds = cost(costs, costs.seconds, allocation.rows, allocation.row, allocation.depth)
    return float(seconds[part].max(initial=0.0))


def least_time(problem: Problem) -> Outcome:
    """Shortest round whose utility reaches ``min_utility``."""
    floor = problem.question.min_utility
    if floor is None:
        raise InputError("objective 'time' needs a least utility; give --min-utility")
    best = maximise_utility(problem)
    if best.value < floor:
        raise _too_low(floor, best)
    low, high = _least_s(problem), round_time_s(problem, best.allocation)
    while high - low > TIME_GAP * high:
        middle = (low + high) / 2
        found = _within(problem, middle)
        if found is not None and found.value >= floor:
            best, high = found, min(middle, round_time_s(problem, found.allocation))
        elif found is None or found.bound is None or found.bound < floor:
            low = middle
        else:
            break
    return Outcome(
        allocation=best.allocation,
        value=high,
        bound=min(low, high) if high - low > TIME_GAP * high else high,
        method=f"bisection of the round time, {best.method}",
    )


def best_efficiency(problem: Problem) -> Outcome:
    """Most utility per second of a round, with at least ``min_utility``."""
    floor = problem.question.min_utility or 0.0
    whole = maximise_utility(problem)
    if whole.value < floor:
        raise _too_low(floor, whole)
    best, ratio = whole, whole.value / round_time_s(problem, whole.allocation)
    low = max(_least_s(problem), 1e-12)
    if floor > 0:
        low = least_time(problem).bound or low
    high = round_time_s(problem, whole.allocation)
    # (minus the bound, from, to): utilities at `to` are known, below `from` there are none.
    queue = [(-(whole.bound or 0.0) / low, low, high)]
    bound, settled = -queue[0][0], 0.0
    for _ in range(MAX_SPLITS):
        bound = max(-queue[0][0] if queue else 0.0, settled, ratio)
        if not queue or bound <= ratio * (1 + EFFICIENCY_GAP):
            break
        _, start, end = heapq.heappop(queue)
        middle = float(np.sqrt(start * end))
        found = _within(problem, middle)
        upper = 0.0
        if found is not None:
            upper = found.bound or found.value
            realised = round_time_s(problem, found.allocation)
            if found.value >= floor and found.value / realised > ratio:
                best, ratio = found, found.value / realised
            if upper >= floor and middle > start:
                heapq.heappush(queue, (-upper / start, start, middle))
        at_end = _bound_at(problem, end, whole)
        heapq.heappush(queue, (-at_end / middle, middle, end))
    return Outcome(
        allocation=best.allocation,
        value=ratio,
        bound=bound,
        method=f"bounds on intervals of the round time, {best.method}",
    )


def _bound_at(problem: Problem, end: float, whole: Outcome) -> float:
    found = _within(problem, end)
    return (found.bound or found.value) if found is not None else (whole.bound or 0.0)


def _within(problem: Problem, seconds: float) -> Outcome | None:
    """Largest utility within a round time, or None where there is no plan."""
    try:
        return maximise_utility(problem.under(round_time_s=seconds))
    except Infeasible:
        return None


def _least_s(problem: Problem) -> float:
    """A round time below which there is no plan."""
    depth = problem.question.min_depth
    found = least_round_time_s(
        problem.under(round_time_s=None), least_ranks(problem, depth), depth
    )
    if found is None:
        raise infeasible(problem)
    return found * (1 - TIME_GAP)


def _too_low(floor: float, best: Outcome) -> Infeasible:
    repair = f"The greatest utility under these budgets is {best.value:.6g}."
    return Infeasible(
        reason=f"infeasible: a utility of {floor:.6g} is out of reach. {repair}", repair=repair
    )
