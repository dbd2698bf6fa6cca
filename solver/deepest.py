"""Objective `legend`: everybody as deep as possible, and among such plans the most utility.

The value is the weighted mean depth, ``sum_i w_i k_i``. Costs never fall with a rank, so
without a budget on the mean wait nobody gets deeper than at the least ranks: that depth k*_i
is the optimum, proven by one look at each device whatever the costs. Ranks that leave all of
them there are those whose prefix sums pass nobody's capacity at his depth, so the dynamic
program finds the most useful ones with the smallest capacity of each depth as a limit.

With a budget on the mean wait ranks slow down the fast, and so decide how deep the slow may
go. Then every layer of every device gains 1 and a millionth of its share of the largest
utility, and the search of `solver.wait.search` maximises that. Its bound holds for the depth.
"""

from dataclasses import replace

import numpy as np

from profiler.schema import InputError
from solver.allocation import Allocation, shared, utility
from solver.costs.capacity import Capacity, capacity, exact, units_by_depth
from solver.costs.devices import Ints
from solver.exact import maximise_utility
from solver.explain.infeasible import without_plan
from solver.outcome import Outcome
from solver.problem import Problem
from solver.progression import best_progression, candidates, within
from solver.shapes import shaped_ranks

# Weight of the largest utility against one layer everywhere.
TIE = 1e-6


def plan_deepest(problem: Problem) -> Outcome:
    """Deepest plan within every budget; raises `Infeasible` where there is none."""
    if problem.question.structure != "shared":
        raise InputError(
            "objective 'legend' is for shared ranks; drop --structure, or use --objective "
            "utility"
        )
    if problem.question.budgets.mean_wait_s is not None or problem.costs.links is not None:
        found = maximise_utility(depth_first(problem))
        return as_depth(problem, found)
    reason = without_plan(problem)
    if reason is not None:
        raise reason
    least = _least_ranks(problem)
    goal = shared(problem, least)
    best, proven = _most_useful(problem, goal)
    value = mean_depth(problem, goal)
    ties = "ties by utility" if proven else "ties by utility, not proven"
    return Outcome(
        allocation=best, value=value, bound=value, method=f"depth at the least ranks, {ties}"
    )


def depth_first(problem: Problem) -> Problem:
    """Return the problem with gains of which depth comes first and utility breaks ties."""
    most = float(problem.gains.max(axis=1).sum()) or 1.0
    return replace(problem, gains=1 + TIE * problem.gains / most)


def as_depth(problem: Problem, found: Outcome) -> Outcome:
    """State an outcome of `depth_first` in layers: its bound holds for the depth alone too."""
    value = mean_depth(problem, found.allocation)
    bound = None if found.bound is None else max(min(found.bound, _most(problem)), value)
    return replace(found, value=value, bound=bound, method=f"depth first: {found.method}")


def mean_depth(problem: Problem, allocation: Allocation) -> float:
    """Weighted mean depth; devices left out count as 0."""
    return float(np.dot(problem.weights, allocation.depth.clip(0)))


def _most(problem: Problem) -> float:
    """Mean depth at the least ranks: no plan is deeper."""
    return mean_depth(problem, shared(problem, _least_ranks(problem)))


def _least_ranks(problem: Problem) -> Ints:
    """Least rank on as many layers as the rank budget allows, shape (L,)."""
    least, budget = int(problem.ranks[0]), problem.question.budgets.rank_budget
    reached = problem.layers if budget is None else budget // least
    return np.where(np.arange(problem.layers) < reached, least, 0)


def _most_useful(problem: Problem, goal: Allocation) -> tuple[Allocation, bool]:
    """Most utility with everybody at a goal's depth, and whether that is proven."""

    def keep(found: Allocation) -> Allocation | None:
        return found if np.array_equal(found.depth, goal.depth) else None

    if problem.question.rank_shape == "progression":
        table = _within_depths(problem, goal.depth, optimistic=True)
        usable = within(candidates(problem), table, int(goal.depth.max()))
        best, bound = best_progression(problem, table, usable, keep)
        return (goal, False) if best is None else (best, bound <= utility(problem, best))
    ranks = _dynamic_program(problem, goal.depth)
    found = goal if ranks is None else keep(shared(problem, ranks))
    proven = exact(problem.costs, problem.question.rank_choices[-1], problem.question.min_depth)
    if found is None or utility(problem, found) < utility(problem, goal):
        return goal, False
    return found, proven and ranks is not None


def _within_depths(problem: Problem, depth: Ints, *, optimistic: bool) -> Capacity:
    """Capacities with the smallest of those who stop at a depth as the least there."""
    costs, top_rank = problem.costs, problem.question.rank_choices[-1]
    table = capacity(costs, problem.weights, top_rank, optimistic=optimistic)
    top = table.reach.shape[1] - 1
    least = np.full(problem.layers + 1, top)
    for where, block in costs.blocks():
        every = units_by_depth(block, table.unit, top, optimistic=optimistic)
        for k, units in enumerate(every):
            least[k] = units[depth[where] == k].min(initial=least[k])
    return replace(table, least=least)


def _dynamic_program(problem: Problem, depth: Ints) -> Ints | None:
    """Best ranks whose prefix sums everybody carries at his depth, by safe capacities."""
    question = problem.question
    found = shaped_ranks(
        question.rank_shape,
        _within_depths(problem, depth, optimistic=False),
        problem.gains,
        problem.ranks,
        min_depth=int(depth.max()),
        rank_budget=question.budgets.rank_budget,
    )
    return None if found is None else found.ranks
