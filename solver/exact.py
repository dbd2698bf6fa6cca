"""Largest utility for any structure of the ranks, proven: where the methods part.

`shared` ranks are solved here, by the dynamic program, and so are those of devices' `own`;
`capped` ones by `solver.capped`, progressions by `solver.progression`, and what is behind
links that devices share by `solver.links.plan`.

With ranks of its own every device is its own problem, and one table serves them all: with
everybody's weight set to 1, V_k(S) is the most a device can gain from its last k layers with
prefix sum S, so device i gains max over k and S <= h_i(k) of V_k(S).
"""

from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace as replace_fields

from profiler.schema import InputError
from solver.allocation import Allocation, deepest, shared, utility
from solver.branch import GAP as BRANCH_GAP
from solver.branch import branch
from solver.capacity import Capacity, capacity, exact, grid, units_by_depth
from solver.capped import plan_capped
from solver.devices import Floats, Ints
from solver.dp.shared import SharedRanks
from solver.dp.tables import tables
from solver.errors import Infeasible
from solver.explain import infeasible, without_plan
from solver.least import least_allocation
from solver.outcome import OPTIMAL_GAP, Outcome
from solver.problem import Problem
from solver.progression import most_utility, plan_progressions
from solver.shapes import shaped_ranks
from solver.wait.limit import within_wait
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
        return _own(problem)
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
    own for everybody; the least depth and the mean wait are dropped.
    """
    question = problem.question
    if question.structure != "shared":
        free = replace(problem, question=replace_fields(question, min_depth=0))
        return _own_gains(free, optimistic=True)[0]
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


def _own(problem: Problem) -> Outcome:
    upper = _own_gains(problem, optimistic=True)
    same = exact(problem.costs, problem.question.rank_choices[-1], problem.question.min_depth)
    lower = upper if same else _own_gains(problem, optimistic=False)
    allocation = lower[1]
    short = allocation.depth < problem.question.min_depth
    if short.any():
        # What errs on the safe side finds no room; the least configuration, exact, may fit.
        _refuse_if_without_plan(problem)
        allocation = _mixed(allocation, least_allocation(problem), short)
    kept = within_wait(problem, allocation)
    if kept is None:
        raise infeasible(problem, proven=False)
    value = utility(problem, kept)
    return Outcome(
        allocation=kept,
        value=value,
        bound=max(upper[0], value),
        method="dynamic program, one table for all devices",
    )


def _mixed(one: Allocation, other: Allocation, second: npt.NDArray[np.bool_]) -> Allocation:
    """The second allocation for some devices, the first for the others."""
    return Allocation(
        rows=np.concatenate([one.rows, other.rows]),
        row=np.where(second, other.row + len(one.rows), one.row),
        depth=np.where(second, other.depth, one.depth),
    )


def _own_gains(problem: Problem, *, optimistic: bool) -> tuple[float, Allocation]:
    """Largest utility with ranks of their own, and who trains what."""
    costs, choices = problem.costs, problem.ranks
    unit, steps = grid(costs.sizes, int(choices[-1]), optimistic=optimistic)
    top = int(steps.sum()) * int(choices[-1])
    everyone = Capacity(
        unit=unit,
        steps=steps,
        reach=np.ones((len(steps) + 1, top + 1)),
        least=np.full(len(steps) + 1, top),
    )
    table = tables(everyone, problem.gains, choices)
    units = units_by_depth(costs, unit, top, optimistic=optimistic)
    n = len(costs.devices)
    gain = np.full(n, -np.inf)
    gain[units[0] >= 0] = 0.0
    at = np.zeros((n, 2), dtype=np.int64)
    for k in range(1, problem.layers + 1):
        best, where = _running_best(table.values[k][:, 0])
        room = units[k]
        here = np.where(room >= 0, best[room.clip(0)], -np.inf)
        # A device below its least depth has nothing to choose yet.
        better = (here > gain) | ((k == problem.question.min_depth) & (here > -np.inf))
        gain[better] = here[better]
        at[better] = np.stack([np.full(n, k), where[room.clip(0)]], axis=1)[better]
    pairs, row = np.unique(at, axis=0, return_inverse=True)
    rows = np.array([table.backtrack(int(k), int(s)) for k, s in pairs])
    row = row.reshape(-1)
    depth = np.where(np.isneginf(gain), -1, deepest(costs, rows, row))
    value = float(np.dot(problem.weights, np.where(np.isneginf(gain), 0.0, gain)))
    return value, Allocation(rows=rows, row=row, depth=depth)


def _running_best(values: Floats) -> tuple[Floats, Ints]:
    """Largest value at or below each prefix sum, and the first place it stands at."""
    best = np.maximum.accumulate(values)
    rises = np.append(True, best[1:] > best[:-1])
    where = np.maximum.accumulate(np.where(rises, np.arange(len(best)), 0))
    return best, where
