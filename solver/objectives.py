"""Objectives other than the largest utility, each by a sequence of utility problems.

The largest utility U*(T) within a round time T is a step function that never falls. `time`
bisects it; `efficiency` bounds U*(T) / T on an interval [a, b] by U*(b) / a and splits the
interval of the largest bound.
"""

import heapq

import numpy as np

from profiler.schema import InputError
from solver.allocation import round_time_s
from solver.deadline import expired
from solver.errors import Infeasible, Stopped
from solver.exact import maximise_utility
from solver.explain.infeasible import infeasible, too_low
from solver.least import least_round_time_s
from solver.outcome import Outcome
from solver.problem import Problem

TIME_GAP = 1e-9
EFFICIENCY_GAP = 1e-4
MAX_SPLITS = 1000
# Where an interval of round times begins at 0, its split is at this share of its end.
SHORTEST = 1e-6


def least_time(problem: Problem) -> Outcome:
    """Shortest round whose utility reaches ``min_utility``."""
    floor = problem.question.min_utility
    if floor is None:
        raise InputError("objective 'time' needs a least utility; give --min-utility")
    best = maximise_utility(problem, branching=False)
    if best.value < floor:
        raise too_low(floor, best.value, best.bound)
    low, high = _least_s(problem), round_time_s(problem, best.allocation)
    while high - low > TIME_GAP * high and not expired():
        middle = (low + high) / 2
        found, most = _within(problem, middle)
        if found is not None and found.value >= floor:
            best, high = found, min(middle, round_time_s(problem, found.allocation))
        elif most < floor:
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
    whole = maximise_utility(problem, branching=False)
    if whole.value < floor:
        raise too_low(floor, whole.value, whole.bound)
    high = round_time_s(problem, whole.allocation)
    best, ratio = whole, _ratio(whole.value, high)
    low = _least_s(problem)
    if floor > 0:
        low = max(least_time(problem).bound or low, low)
    # Rounds longer than that of `whole` are no better than its bound.
    most = _most(whole)
    settled = _ratio(most, high)
    # (minus the bound, from, to, most utility within `to`); below `from` there is no plan.
    queue = [(-_most_from(low, most), low, high, most)]
    for _ in range(MAX_SPLITS):
        reached = max(ratio, settled) * (1 + EFFICIENCY_GAP)
        if not queue or -queue[0][0] <= reached or expired():
            break
        bound, start, end, most = heapq.heappop(queue)
        if end <= start * (1 + EFFICIENCY_GAP / 2):
            settled = max(settled, -bound)
            continue
        middle = float(np.sqrt(max(start, end * SHORTEST) * end))
        found, shorter = _within(problem, middle)
        if found is not None:
            realised = _ratio(found.value, round_time_s(problem, found.allocation))
            if found.value >= floor and realised > ratio:
                best, ratio = found, realised
        shorter = min(shorter, most)
        if shorter >= floor:
            heapq.heappush(queue, (-_most_from(start, shorter), start, middle, shorter))
        heapq.heappush(queue, (-_most_from(middle, most), middle, end, most))
    bound = max(-queue[0][0] if queue else 0.0, settled, ratio)
    return Outcome(
        allocation=best.allocation,
        value=ratio,
        bound=bound if bound < np.inf else None,
        method=f"bounds on intervals of the round time, {best.method}",
        target_gap=EFFICIENCY_GAP,
    )


def _most(outcome: Outcome) -> float:
    """The bound; infinite where nothing was proven."""
    return np.inf if outcome.bound is None else outcome.bound


def _ratio(utility: float, seconds: float) -> float:
    """Utility a second; a round that takes no time counts for nothing, as in the checker."""
    return utility / seconds if seconds > 0 else 0.0


def _most_from(seconds: float, most: float) -> float:
    """Most utility a second of rounds this long and longer, of at most so much utility."""
    return np.inf if seconds <= 0 < most else _ratio(most, seconds)


def _within(problem: Problem, seconds: float) -> tuple[Outcome | None, float]:
    """Largest utility within a round time, or None, and a bound on it.

    The bound is minus infinity where there is no plan, infinite where none was found.
    """
    try:
        found = maximise_utility(problem.under(round_time_s=seconds), branching=False)
    except Infeasible as error:
        return None, -np.inf if error.proven else np.inf
    except Stopped:
        return None, np.inf
    return found, _most(found)


def _least_s(problem: Problem) -> float:
    """A round time below which there is no plan."""
    found = least_round_time_s(problem)
    if found is None:
        raise infeasible(problem)
    return found * (1 - TIME_GAP)
