"""Largest utility for any structure of the ranks, proven: where the methods part.

`shared` ranks are solved here, by the dynamic program, those of devices' `own` by
`solver.own`, `capped` ones by `solver.capped.plan`, progressions by `solver.progression`, and
what is behind links that devices share by `solver.links.plan`.
"""

from dataclasses import replace
from functools import partial

import numpy as np
from msgspec.structs import replace as replace_fields

from profiler.schema import InputError
from solver.allocation import shared, utility
from solver.capped.plan import plan_capped
from solver.costs.capacity import Capacity, capacity, exact
from solver.dp.shared import SharedRanks
from solver.errors import Infeasible
from solver.explain.infeasible import infeasible, without_plan
from solver.least import least_allocation
from solver.outcome import OPTIMAL_GAP, Outcome
from solver.own import most_of_own, plan_own
from solver.problem import Problem
from solver.progression import most_utility, plan_progressions
from solver.shapes import shaped_ranks
from solver.slopes.branch import GAP as BRANCH_GAP
from solver.slopes.branch import branch
from solver.slopes.shared_wait import search_boxes, searchable
from solver.wait.capped import plan_capped_waiting
from solver.wait.deadlines import most_kept
from solver.wait.search import GAP as WAIT_GAP
from solver.wait.search import search


def maximise_utility(problem: Problem, *, branching: bool = True) -> Outcome:
    """Find the depth and ranks of largest utility under every budget.

    Parameters
    ----------
    problem : Problem
    branching : bool
        Whether to close the gap by branch and bound where costs are out of proportion to the
        layers' sizes; without it the bound is looser and the answer takes milliseconds.

    Raises
    ------
    Infeasible
        If a device cannot reach the least depth at the smallest rank.
    InputError
        If the structure is not one this method solves.
    """
    question = problem.question
    if question.structure == "own" and question.budgets.rank_budget is not None:
        raise InputError(
            "a rank budget needs shared ranks; drop --rank-budget or --structure own"
        )
    if problem.costs.links is not None:
        # Here, not above: a fleet without links starts without it.
        from solver.links.plan import plan_links
        from solver.links.spread import plan_spread

        if problem.costs.links.flat:
            linked = plan_spread(problem, partial(maximise_utility, branching=branching))
        else:
            linked = plan_links(problem, thorough=branching)
        if linked is not None:
            return linked
    structure = question.structure
    if structure == "own":
        return plan_own(problem)
    if structure == "shared":
        return _shared(problem, branching=branching)
    # A cap at the largest rank is no cap, so shared ranks are a start.
    uncapped = replace(problem, question=replace_fields(problem.question, structure="shared"))
    start: Outcome | Infeasible
    try:
        start = _shared(uncapped, branching=branching)
    except Infeasible as error:
        # Where only the mean wait is in the way, caps may help.
        if question.budgets.mean_wait_s is None or without_plan(problem) is not None:
            raise
        start = replace(error, proven=False)
    if question.budgets.mean_wait_s is not None:
        return plan_capped_waiting(problem, start, thorough=branching)
    return plan_capped(problem, start, utility_bound(problem), thorough=branching)


def _shared(problem: Problem, *, branching: bool) -> Outcome:
    if problem.question.rank_shape == "progression":
        _refuse_if_without_plan(problem)
        return plan_progressions(problem)
    table = _capacity(problem, optimistic=True)
    upper = _solve(problem, table)
    same = exact(problem.costs, problem.question.rank_choices[-1], problem.question.min_depth)
    lower = upper if same else _solve(problem, _capacity(problem, optimistic=False))
    allocation = None
    if lower is not None:
        # Exact capacities say how deep everybody gets, without a look at the costs again.
        depth = table.deepest(lower.ranks) if same else None
        allocation = shared(problem, lower.ranks, depth)
    if allocation is None or (allocation.depth < problem.question.min_depth).any():
        _refuse_if_without_plan(problem)
        # Where no plan is safe by the conservative table, the least configuration still is one.
        allocation = least_allocation(problem)
    method = "dynamic program" if upper is lower else "dynamic program between two bounds"
    bound = utility(problem, allocation) if upper is None else upper.value
    target = 0.0
    epsilon_s = problem.question.budgets.mean_wait_s
    if epsilon_s is not None:
        kept, bound = search(problem, allocation, bound, epsilon_s)
        if not same and bound > -np.inf and searchable(problem):
            kept, bound = search_boxes(problem, kept, bound, epsilon_s)
        if kept is None:
            raise infeasible(problem, waiting=allocation, proven=bound == -np.inf)
        allocation, method, target = kept, f"{method}, priced wait", WAIT_GAP
    elif branching and not same and bound > utility(problem, allocation) * (1 + OPTIMAL_GAP):
        ranks, bound = branch(problem, allocation.rows[0], bound)
        allocation, target = shared(problem, ranks), BRANCH_GAP
        method = "branch and bound on rank boxes"
    value = utility(problem, allocation)
    return Outcome(
        allocation=allocation,
        value=value,
        bound=max(bound, value),
        method=method,
        target_gap=target,
    )


def _refuse_if_without_plan(problem: Problem) -> None:
    reason = without_plan(problem)
    if reason is not None:
        raise reason


def utility_bound(problem: Problem) -> float:
    """Utility that no plan of the same question exceeds, whoever it leaves out.

    Shared ranks are bounded by the best shared ranks, ranks that differ by ranks of their
    own for everybody; the least depth is dropped, and with shared ranks the mean wait.
    """
    question = problem.question
    if question.structure != "shared":
        free = replace(problem, question=replace_fields(question, min_depth=0))
        own, epsilon_s = most_of_own(free), question.budgets.mean_wait_s
        # Where waits are filled, the budget is on what is left of them.
        if epsilon_s is None or question.fill_wait > 1:
            return own.value
        return most_kept(free, own.devices, own.value, epsilon_s)
    top = question.rank_choices[-1]
    if question.rank_shape == "progression":
        return most_utility(problem)
    best = shaped_ranks(
        question.rank_shape,
        capacity(problem.costs, problem.weights, top, optimistic=True),
        problem.gains,
        problem.ranks,
        min_depth=0,
        rank_budget=question.budgets.rank_budget,
    )
    return 0.0 if best is None else best.value


def _capacity(problem: Problem, *, optimistic: bool) -> Capacity:
    top = problem.question.rank_choices[-1]
    return capacity(problem.costs, problem.weights, top, optimistic=optimistic)


def _solve(problem: Problem, table: Capacity) -> SharedRanks | None:
    question = problem.question
    if table.least[question.min_depth] < 0:
        return None
    return shaped_ranks(
        question.rank_shape,
        table,
        problem.gains,
        problem.ranks,
        min_depth=question.min_depth,
        rank_budget=question.budgets.rank_budget,
    )
