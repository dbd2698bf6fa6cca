"""Mean wait for given ranks: lower the slowest devices until the others wait less.

For given ranks every device has a time for each depth it can reach. Under a deadline T the
best a device can do is its deepest depth that meets T, for the gain and for the wait alike,
so one number, T, decides everything; the best T is the largest whose mean wait

    T - mean_i t_i(k_i(T)) <= epsilon.

Between two deadlines nothing changes, so only the times themselves are tried: exact in
O(N L log(N L)).
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from solver.allocation import (
    LEFT_OUT,
    Allocation,
    cost_by_depth,
    fits_by_depth,
    mean_wait_s,
)
from solver.costs.devices import Floats
from solver.costs.resource import TOLERANCE
from solver.problem import Problem


def limit_wait(
    problem: Problem, allocation: Allocation, epsilon_s: float, tries: int | None = None
) -> Allocation | None:
    """Deepest depths, at most the given ones, whose mean wait is at most `epsilon_s`.

    Parameters
    ----------
    problem : Problem
        With `min_depth` as the fewest layers of every device that takes part.
    allocation : Allocation
        Ranks and the deepest depths allowed.
    epsilon_s : float
        Largest mean wait, seconds.
    tries : int, optional
        Deadlines that are looked at, spread evenly: a shared link that outlasts all devices
        may rule out many. None: all of them.

    Returns
    -------
    Allocation or None
        None where no deadline keeps the wait.
    """
    part = allocation.taking_part
    times = depth_times(problem, allocation)[part]
    allowed = _worth_a_stop(times, _allowed(problem, allocation)[part])
    count = problem.costs.devices.count[part].astype(float)
    # Time at the deepest depth allowed up to k; -inf before the first.
    reached = np.maximum.accumulate(np.where(allowed, times, -np.inf), axis=1)
    first_s = np.take_along_axis(times, allowed.argmax(axis=1)[:, None], axis=1)[:, 0]
    # Each deeper depth is an event: from its time on, its device's own time is that time.
    deeper = allowed[:, 1:] & np.isfinite(reached[:, :-1])
    event_s = times[:, 1:][deeper]
    added_s = ((times[:, 1:] - reached[:, :-1]) * count[:, None])[deeper]
    order = np.argsort(event_s, kind="stable")
    total_s = np.dot(first_s, count) + np.append(0.0, np.cumsum(added_s[order]))
    start = first_s.max()
    deadlines = np.unique(np.append(start, event_s[event_s > start]))
    begun = np.searchsorted(event_s[order], deadlines, side="right")
    wait_s = deadlines - total_s[begun] / count.sum()
    # Sums of many times are rounded; who comes close is asked again, to the last bit.
    likely = deadlines[wait_s <= epsilon_s + TOLERANCE * (epsilon_s + deadlines)]
    grid = np.arange(times.shape[1])
    if tries is not None and len(likely) > tries:
        likely = likely[np.linspace(0, len(likely) - 1, tries).astype(np.int64)]
    for deadline in likely[::-1]:
        depth = np.full(len(part), LEFT_OUT, dtype=np.int64)
        depth[part] = np.where(allowed & (times <= deadline), grid, LEFT_OUT).max(axis=1)
        found = replace(allocation, depth=depth)
        if mean_wait_s(problem, found) <= epsilon_s * (1 + TOLERANCE):
            return found
    return None


def within_wait(problem: Problem, allocation: Allocation) -> Allocation | None:
    """Deepest depths within the budget on the mean wait; as they are if there is none.

    See `limit_wait`; None where no deadline keeps it.
    """
    epsilon_s = problem.question.budgets.mean_wait_s
    return allocation if epsilon_s is None else limit_wait(problem, allocation, epsilon_s)


def _allowed(problem: Problem, allocation: Allocation) -> npt.NDArray[np.bool_]:
    """Depths from the least to the given one at which every limit holds, shape (N, L + 1)."""
    holds = fits_by_depth(problem.costs, allocation.rows, allocation.row).T
    depths = np.arange(problem.layers + 1)
    return (
        holds & (depths >= problem.question.min_depth) & (depths <= allocation.depth[:, None])
    )


def _worth_a_stop(times: Floats, allowed: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Depths that take less time than every deeper one, shape (N, L + 1).

    With a cache one layer may take less time than none: then nobody stays at none.
    """
    deeper = np.where(allowed, times, np.inf)[:, :0:-1]
    least = np.minimum.accumulate(deeper, axis=1)[:, ::-1]
    worth = allowed.copy()
    worth[:, :-1] &= times[:, :-1] < least
    return worth


def keeps_wait(problem: Problem, allocation: Allocation) -> bool:
    """Whether an allocation keeps the budget on the mean wait, if there is one."""
    epsilon_s = problem.question.budgets.mean_wait_s
    if epsilon_s is None:
        return True
    return mean_wait_s(problem, allocation) <= epsilon_s * (1 + TOLERANCE)


def depth_times(problem: Problem, allocation: Allocation) -> Floats:
    """Round time of every device at every depth, shape (N, L + 1)."""
    costs = problem.costs
    return cost_by_depth(costs, costs.seconds, allocation.rows, allocation.row).T
