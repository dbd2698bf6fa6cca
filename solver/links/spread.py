"""Plans under shared links where a rank takes bytes beside its parameters.

An int8 codec sends two scales of every rank, so where layers differ in size what passes a link
is in proportion to no sum that the searches of `solver.links.plan` know. With the scales spread
over the parameters it is: over those of the largest layer, so that no plan sends more than it
does, what bounds all plans there bounds them here; over those of the smallest, so that none
sends less, what keeps the limits there keeps them here. Between them lies less than the scales'
share of the bytes: 8 in the sum of a module's widths. The budget on the mean wait is moved by
what spreading changes the devices' own times by. What the plan then leaves of the true bytes is
filled: device by device one layer more, while everything is kept.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np

from solver.allocation import (
    Allocation,
    busy_s,
    cost,
    device_gains,
    everything,
    server_ranks,
    utility,
)
from solver.costs.payload import Spread
from solver.costs.resource import TOLERANCE
from solver.errors import Infeasible, Stopped
from solver.explain.infeasible import infeasible, without_plan
from solver.least import least_allocation, least_round_time_s
from solver.links.said import none_found, overloaded
from solver.links.search import GAP
from solver.links.shortest import shortest
from solver.outcome import Outcome
from solver.problem import Problem
from solver.wait.limit import keeps_wait

__all__ = ["plan_spread"]


def plan_spread(problem: Problem, maximise: Callable[[Problem], Outcome]) -> Outcome | None:
    """Most utility under every budget and shared link; None where no link can bind.

    Parameters
    ----------
    problem : Problem
        With links, and ranks that have a price beside their parameters.
    maximise : callable
        Plans where they have none.

    Raises
    ------
    Infeasible
        If no device, or not everybody, keeps the limits; names the link.
    Stopped
        If no plan was found that keeps the mean wait.
    """
    if not _may_bind(problem):
        return None
    reason = without_plan(problem) or overloaded(problem, least_allocation(problem))
    if reason is not None:
        raise reason
    try:
        less = maximise(_spread(problem, "less"))
    except Infeasible as error:
        raise infeasible(problem, proven=error.proven) from None
    best: Allocation | None = None
    for found in _candidates(problem, less, maximise):
        better = best is None or utility(problem, found) > utility(problem, best)
        if better and _keeps(problem, found):
            best = found
    if best is None:
        raise none_found(problem, 0.0)
    best = _deepened(problem, best)
    value = utility(problem, best)
    return Outcome(
        allocation=best,
        value=value,
        bound=None if less.bound is None else max(less.bound, value),
        method=less.method,
        target_gap=GAP,
    )


def _may_bind(problem: Problem) -> bool:
    """Whether a link may outlast the round, or what others wait for."""
    budgets = problem.question.budgets
    longest_s = float(busy_s(problem.costs, everything(problem)).max(initial=0.0))
    if budgets.mean_wait_s is not None:
        return longest_s > (least_round_time_s(problem) or 0.0)
    return budgets.round_time_s is not None and longest_s > budgets.round_time_s


def _spread(problem: Problem, how: Spread) -> Problem:
    """Return the problem with scales spread, and the budget on the wait so much longer."""
    spread, epsilon_s = problem.spreading(how), problem.question.budgets.mean_wait_s
    if epsilon_s is None:
        return spread
    sign = 1 if how == "less" else -1
    return spread.under(mean_wait_s=max(epsilon_s + sign * _apart_s(problem, how), 0.0))


def _apart_s(problem: Problem, how: Spread) -> float:
    """What spreading changes the devices' mean time by, at most."""
    costs = problem.costs
    if costs.seconds.flat is None:
        return 0.0
    least, most = int(costs.sizes.min()), int(costs.sizes.max())
    apart = costs.sizes / least - 1 if how == "more" else 1 - costs.sizes / most
    mean_s = float(np.average(costs.seconds.flat, weights=costs.devices.count))
    return mean_s * float(apart.sum()) * int(problem.ranks[-1])


def _candidates(
    problem: Problem, less: Outcome, maximise: Callable[[Problem], Outcome]
) -> Iterator[Allocation]:
    """Plans that may keep every limit."""
    yield less.allocation
    more = _spread(problem, "more")
    # With the wait as it was asked for the plan may keep it all the same.
    asked = more.under(mean_wait_s=problem.question.budgets.mean_wait_s)
    for each in [asked] if asked.question == more.question else [asked, more]:
        with suppress(Infeasible, Stopped):
            yield maximise(each).allocation
    yield least_allocation(problem)
    if problem.question.budgets.mean_wait_s is not None:
        yield shortest(problem)


def _keeps(problem: Problem, allocation: Allocation) -> bool:
    """Whether everybody takes part and every limit is kept."""
    costs, limit_s = problem.costs, problem.question.budgets.round_time_s
    if not allocation.taking_part.all():
        return False
    rows, row, depth = allocation.rows, allocation.row, allocation.depth
    for q in costs.resources:
        if (cost(costs, q, rows, row, depth) > q.limit * (1 + TOLERANCE)).any():
            return False
    busy = busy_s(costs, allocation)
    over = limit_s is not None and (busy > limit_s * (1 + TOLERANCE)).any()
    return not over and keeps_wait(problem, allocation)


def _deepened(problem: Problem, allocation: Allocation) -> Allocation:
    """Give devices one layer more, by what they gain, while every limit is kept.

    Not where a mean wait is to be kept, for which every change matters to everybody.
    """
    links, budgets = problem.costs.links, problem.question.budgets
    if links is None or budgets.round_time_s is None or budgets.mean_wait_s is not None:
        return allocation
    left_s = budgets.round_time_s * (1 + TOLERANCE) - busy_s(problem.costs, allocation)
    while True:
        depth = allocation.depth.copy()
        for i, more in _deeper(problem, allocation):
            added_s = links.added_s(i, *more)
            if (added_s <= left_s).all():
                left_s -= added_s
                depth[i] += 1
        if np.array_equal(depth, allocation.depth):
            return allocation
        allocation = replace(allocation, depth=depth)


def _deeper(
    problem: Problem, allocation: Allocation
) -> Iterator[tuple[int, tuple[float, float]]]:
    """Devices that carry a layer more, who gains most first: its parameters and its rank."""
    costs, rows, row = problem.costs, allocation.rows, allocation.row
    following = np.minimum(allocation.depth, problem.layers - 1)
    rank = np.where(allocation.depth < problem.layers, rows[row, following], 0)
    # A rank that the server lacks would count in the budget on their sum, and in its shape.
    able = (rank > 0) & (rank <= server_ranks(allocation)[following])
    for q in costs.resources:
        able &= cost(costs, q, rows, row, following + 1) <= q.limit * (1 + TOLERANCE)
    gains = device_gains(problem, rows)
    gained = problem.weights * (gains[row, following + 1] - gains[row, following])
    order = np.argsort(-gained, kind="stable")
    for i in order[able[order] & (gained[order] > 0)].tolist():
        yield i, (float(rank[i] * costs.sizes[following[i]]), float(rank[i]))
