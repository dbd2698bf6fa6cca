"""Arithmetic progressions: shared ranks that rise towards the output by a constant step.

LEGEND's ranks are likely of this kind (a hypothesis, see the policy). There are only as many
as pairs of a first rank and a step, so all of them are tried: their optimistic values at once,
then their true ones, best first, until none that is left could be better.
"""

from collections.abc import Callable

import numpy as np

from solver.allocation import Allocation, shared, utility
from solver.costs.capacity import Capacity, capacity
from solver.costs.devices import Floats, Ints
from solver.deadline import expired
from solver.explain.infeasible import infeasible
from solver.least import least_allocation
from solver.outcome import Outcome
from solver.problem import Problem
from solver.wait.limit import within_wait

# Devices times layers priced in one search: by work, not by the clock.
WORK = 4e9
FEWEST = 10


def plan_progressions(problem: Problem) -> Outcome:
    """Best of all progressions, every device as deep as its limits and the mean wait allow.

    Exact for any costs, where `WORK` is enough to look at all that could be best.

    Raises
    ------
    Infeasible
        If none of them keeps the budgets.
    """

    def keep(found: Allocation) -> Allocation | None:
        short = (found.depth < problem.question.min_depth).any()
        return None if short else within_wait(problem, found)

    table = _optimistic(problem)
    usable = within(candidates(problem), table, problem.question.min_depth)
    best, bound = best_progression(problem, table, usable, keep)
    if best is None:
        # The least rank on every layer is a progression too.
        best = keep(least_allocation(problem))
    if best is None:
        raise infeasible(problem, proven=bound == -np.inf)
    return Outcome(
        allocation=best,
        value=(value := utility(problem, best)),
        bound=max(bound, value),
        method="all arithmetic progressions",
    )


def best_progression(
    problem: Problem,
    table: Capacity,
    ranks: Ints,
    keep: Callable[[Allocation], Allocation | None],
) -> tuple[Allocation | None, float]:
    """Best rank sequence by what `keep` makes of it, and a bound on the utility of all.

    Parameters
    ----------
    problem : Problem
    table : Capacity
        Optimistic.
    ranks : array of int, shape (A, L)
        What is tried.
    keep : callable
        Takes the deepest allocation at some ranks and returns it, one with less utility, or
        None where the ranks are of no use.
    """
    most = values(table, problem.gains, problem.ranks, ranks)
    order = np.argsort(-most, kind="stable")
    tries = max(FEWEST, int(WORK / (len(problem.costs.devices) * problem.layers**2)))
    best, best_value = None, -np.inf
    for tried, index in enumerate(order.tolist()):
        if most[index] <= best_value:
            break
        if tried == tries or expired():
            return best, float(most[index])
        found = keep(shared(problem, ranks[index]))
        if found is not None and utility(problem, found) > best_value:
            best, best_value = found, utility(problem, found)
    # With a cache one layer may take less time than none: then deepest is not always best.
    waits = problem.question.budgets.mean_wait_s is not None
    if waits and problem.costs.caches is not None and problem.question.min_depth == 0:
        return best, float(most.max(initial=0.0))
    return best, best_value


def most_utility(problem: Problem) -> float:
    """Utility that no progression exceeds, whoever it leaves out."""
    every = candidates(problem)
    most = values(_optimistic(problem), problem.gains, problem.ranks, every)
    return float(most.max(initial=0.0))


def within(ranks: Ints, table: Capacity, depth: int) -> Ints:
    """Those of shape (A, L) that reach a depth within the least capacity of each depth."""
    prefix = np.cumsum(ranks * table.steps, axis=1)[:, :depth]
    held = (ranks[:, :depth] > 0) & (prefix <= table.least[1 : depth + 1])
    return ranks[held.all(axis=1)]


def _optimistic(problem: Problem) -> Capacity:
    top = problem.question.rank_choices[-1]
    return capacity(problem.costs, problem.weights, top, optimistic=True)


def candidates(problem: Problem) -> Ints:
    """Progressions within the rank choices and budget, as long as they go, shape (A, L).

    A longer one adds layers and changes none, so shorter ones are of no use.
    """
    choices, layers = problem.ranks, problem.layers
    steps = np.arange(choices[-1] - choices[0] + 1)
    falls = steps[None, :, None] * np.arange(layers)
    every = (choices[:, None, None] - falls).reshape(-1, layers)
    allowed = np.isin(every, choices)
    budget = problem.question.budgets.rank_budget
    if budget is not None:
        allowed &= np.cumsum(every, axis=1) <= budget
    allowed = np.logical_and.accumulate(allowed, axis=1)
    return np.unique(np.where(allowed, every, 0), axis=0)


def progressions(choices: Ints, layers: int) -> Ints:
    """Every rank sequence ``max(first - step * (j - 1), least)`` within the choices.

    Parameters
    ----------
    choices : array of int, shape (R,), ascending
    layers : int

    Returns
    -------
    array of int, shape (A, L)
        From the output, distinct, in a fixed order.
    """
    steps = np.arange(choices[-1] - choices[0] + 1)
    falls = steps[None, :, None] * np.arange(layers)
    every = np.maximum(choices[:, None, None] - falls, choices[0]).reshape(-1, layers)
    allowed = np.isin(every, choices).all(axis=1)
    return np.unique(every[allowed], axis=0)


def values(capacity: Capacity, gains: Floats, choices: Ints, ranks: Ints) -> Floats:
    """Utility of many shared rank sequences at once, shape (A,).

    Parameters
    ----------
    capacity : Capacity
        An optimistic one makes the values upper bounds.
    gains : array, shape (L, R)
    choices : array of int, shape (R,)
    ranks : array of int, shape (A, L)
        A layer of rank 0 is bare and gains nothing.
    """
    layer = np.arange(ranks.shape[1])
    prefix = np.cumsum(ranks * capacity.steps, axis=1)
    gain = np.where(ranks > 0, gains[layer, np.searchsorted(choices, ranks)], 0.0)
    return np.asarray((capacity.reach[layer + 1, prefix] * gain).sum(axis=1))
