"""The Pareto curve of utility against round time."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from solver.allocation import mean_wait_s, round_time_s
from solver.costs.resource import TOLERANCE
from solver.errors import Infeasible, Stopped
from solver.exact import maximise_utility
from solver.explain.infeasible import infeasible
from solver.least import least_round_time_s
from solver.leave_out import plan_able
from solver.outcome import Outcome, relative_gap
from solver.problem import Problem
from solver.wording import spoken

# Stands for 0 s on the logarithmic axis.
SHORTEST_S = 1e-9
STEP = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The best plan within a round time.

    Parameters
    ----------
    round_time_s : float
        Realised: the slowest device.
    utility : float
    gap_fraction : float
        To the bound at the round time that was asked for.
    mean_depth : float
        Adapted layers, mean over devices.
    mean_wait_s : float
    left_out : int
        Devices that cannot train the least configuration within it; they count for a depth
        of 0. Always 0 where the question leaves nobody out.
    """

    round_time_s: float
    utility: float
    gap_fraction: float
    mean_depth: float
    mean_wait_s: float
    left_out: int


@spoken
def frontier_points(
    problem: Problem, points: int, watch: Callable[[list[float]], Iterable[float]] = iter
) -> list[Point]:
    """Best plans at `points` round times, from the least feasible to the longest useful.

    Parameters
    ----------
    problem : Problem
    points : int
        Round times to plan for, spaced evenly in their logarithm.
    watch : callable
        Hands the round times on one by one, and may show how far the work is.

    Returns
    -------
    list of Point
        Shortest round first, each with the seconds, utility, mean depth and mean wait of its
        plan. Dominated points are left out, so there may be fewer.

    Raises
    ------
    Infeasible
        If no round time is long enough.
    """
    patient, least_s, longest_s = _range(problem)
    times = watch(np.geomspace(least_s, longest_s, points).tolist())
    found = (_point(patient.under(round_time_s=seconds)) for seconds in times)
    return undominated([point for point in found if point is not None])


def undominated(points: Iterable[Point]) -> list[Point]:
    """Points, shortest round first, that have more utility than every shorter one."""
    kept: list[Point] = []
    for point in points:
        if not kept or point.utility > kept[-1].utility:
            kept.append(point)
    return kept


def every_step(problem: Problem) -> Iterator[Point]:
    """Walk the whole curve, longest round first: every point that no other dominates.

    The best plan within T takes a realised T' <= T, and within any time from T' to T nothing
    is better; so the next step lies just below T'. Each step is one exact plan. Where devices
    are left out, more of them take part in a longer round, which may cost utility: what comes
    later may then dominate what came before (`undominated`).

    Raises
    ------
    Infeasible
        If no round time is long enough.
    """
    patient, least_s, longest_s = _range(problem)
    seconds, held = longest_s, None
    while seconds >= least_s:
        point = _point(patient.under(round_time_s=seconds))
        if point is None:
            break
        if held is not None and point.utility < held.utility:
            yield held
        held = point
        # A step shorter than the solver's tolerance on limits would find the same plan again.
        seconds = point.round_time_s * (1 - STEP)
    if held is not None:
        yield held


def _range(problem: Problem) -> tuple[Problem, float, float]:
    """The problem without its round time, the least feasible round and the longest useful."""
    patient = problem.under(round_time_s=None)
    everybody = problem.question.leave_out == "nobody"
    least_s = least_round_time_s(patient, everybody=everybody)
    budget_s = problem.question.budgets.round_time_s
    allowed_s = np.inf if budget_s is None else budget_s * (1 + TOLERANCE)
    if least_s is None or allowed_s < least_s:
        raise infeasible(problem, everybody=everybody)
    longest_s = round_time_s(patient, _best(patient).allocation)
    if budget_s is not None:
        longest_s = min(longest_s, budget_s)
    least_s = max(least_s, SHORTEST_S)
    return patient, least_s, max(longest_s, least_s)


def _best(problem: Problem) -> Outcome:
    return plan_able(problem, partial(maximise_utility, branching=False))


def _point(problem: Problem) -> Point | None:
    try:
        outcome = _best(problem)
    except (Infeasible, Stopped):
        return None
    allocation = outcome.allocation
    count = problem.costs.devices.count
    return Point(
        round_time_s=round_time_s(problem, allocation),
        utility=outcome.value,
        gap_fraction=relative_gap(outcome.value, outcome.bound or outcome.value, "utility"),
        mean_depth=float(np.average(allocation.depth.clip(0), weights=count)),
        mean_wait_s=mean_wait_s(problem, allocation),
        left_out=int(count[~allocation.taking_part].sum()),
    )
