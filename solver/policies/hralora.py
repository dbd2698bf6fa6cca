"""HRALoRA: a rank budget per device from memory and traffic, spread over layers by gain.

HRALoRA (CCGrid 2026): the rank budget of a device is the least of what its memory, upload
and download allow, and is spread over all layers in proportion to their Fisher information;
compute time and depth are not looked at. Our reading: the gain of a layer at the largest
rank choice stands for its Fisher information; shares are rounded down to rank choices, and
no layer goes below the least.

It knows no round time, so many of its plans are late. The server may close the round without
the late devices (``hralora``; the same for the energy budget, of which it knows as little),
or wait for them (``hralora-straggler``, whose question drops those budgets and says so). Time
and energy of devices' own are no question's to drop: whoever passes them is left out by both.
"""

from dataclasses import replace

import numpy as np
from msgspec.structs import replace as replace_fields

from solver.allocation import LEFT_OUT, Allocation, cost, fits, utility
from solver.costs.devices import Floats, Ints
from solver.costs.limited import OWN_ENERGY, OWN_TIME
from solver.errors import Infeasible, Shortfall
from solver.explain.binding import shortfalls
from solver.explain.infeasible import describe, infeasible
from solver.outcome import Outcome
from solver.problem import Problem
from solver.show.figures import rounded
from solver.uniform import bisect_rows
from solver.wait.limit import keeps_wait


def plan(problem: Problem) -> Outcome:
    """All layers, ranks by gain within memory and traffic; who is late is left out."""
    wanted = _allocate(problem)
    if not wanted.taking_part.any():
        raise _refusal(problem, wanted)
    allocation = _in_time(problem, wanted)
    if not allocation.taking_part.any():
        raise _too_late(problem, wanted)
    if not keeps_wait(problem, allocation):
        raise _refusal(problem, allocation)
    return _outcome(problem, allocation)


def plan_straggler(problem: Problem) -> Outcome:
    """All layers, ranks by gain within memory and traffic; the late are waited for."""
    patient = problem.under(round_time_s=None, mean_wait_s=None, energy_j=None)
    wanted = _allocate(patient)
    if not wanted.taking_part.any():
        raise _refusal(patient, wanted)
    allocation = _in_time(patient, wanted)
    if not allocation.taking_part.any():
        raise _too_late(patient, wanted)
    return _outcome(patient, allocation)


def _in_time(problem: Problem, wanted: Allocation) -> Allocation:
    """Who keeps all limits at what it is given; the others are left out."""
    keeps = fits(problem.costs, wanted.rows, wanted.row, problem.layers)
    return replace(wanted, depth=np.where(keeps, wanted.depth, LEFT_OUT))


def _outcome(problem: Problem, allocation: Allocation) -> Outcome:
    return Outcome(
        allocation=allocation,
        value=utility(problem, allocation),
        bound=None,
        method="rank budget by memory and traffic, spread by gain",
        question=replace_fields(problem.question, structure="own"),
    )


def rank_rows(problem: Problem) -> Ints:
    """Rank vectors of every rank budget that differ, rising, shape (M, L)."""
    choices, weights = problem.ranks, _shares(problem.gains)
    # At these budgets the share of a layer reaches a rank choice.
    budgets = np.unique((choices[:, None] / weights).ravel())
    shares = budgets[:, None] * weights * (1 + 1e-12)
    index = np.searchsorted(choices, shares, side="right") - 1
    rows = np.unique(choices[index.clip(0)], axis=0)
    # Rows rise together, so their sums put them in order.
    rows = rows[np.argsort(rows.sum(axis=1), kind="stable")]
    most = problem.question.budgets.rank_budget
    return rows if most is None else rows[rows.sum(axis=1) <= most]


def _shares(gains: Floats) -> Floats:
    """Share of each layer in the rank budget, shape (L,); never 0."""
    worth = np.maximum(gains[:, -1], 1e-9 * gains[:, -1].max(initial=0.0))
    return worth / worth.sum() if worth.any() else np.full(len(worth), 1 / len(worth))


def _allocate(problem: Problem) -> Allocation:
    """Largest rank budget that memory, upload and download of each device allow."""
    known = _seen(problem).costs
    rows, layers, n = rank_rows(problem), problem.layers, len(known.devices)
    best = bisect_rows(n, len(rows), lambda row: fits(known, rows, row, layers))
    if not len(rows):
        rows = np.full((1, layers), problem.ranks[0])
    depth = np.where(best == LEFT_OUT, LEFT_OUT, layers)
    return Allocation(rows=rows, row=best.clip(0), depth=depth)


def _seen(problem: Problem) -> Problem:
    """The problem without what it does not look at: time and energy, also devices' own."""
    devices = replace(problem.costs.devices, time_limit_s=None, energy_limit_j=None)
    blind = replace(problem, costs=replace(problem.costs, devices=devices))
    return blind.under(round_time_s=None, energy_j=None)


def _refusal(problem: Problem, allocation: Allocation) -> Infeasible:
    least = np.full(problem.layers, problem.ranks[0])
    return infeasible(problem, least, problem.layers, everybody=False, waiting=allocation)


def _too_late(problem: Problem, wanted: Allocation) -> Infeasible:
    """Every device is late, or too hungry, at the ranks that it is given."""
    found: list[Shortfall] = []
    for index in np.unique(wanted.row[wanted.taking_part]).tolist():
        at = wanted.taking_part & (wanted.row == index)
        found += shortfalls(problem, wanted.rows[index], problem.layers, at)
    found.sort(key=lambda s: s.need / max(s.limit, 1e-300))
    least_s = _least_s(problem, wanted)
    repair = "Use --policy hralora-straggler, which waits."
    if least_s is not None:
        repair = f"The least feasible round time is {rounded(least_s, up=True)} s."
    elif all(short.constraint in (OWN_TIME, OWN_ENERGY) for short in found):
        repair = f"Raise the limit on {found[0].constraint}."
    return Infeasible(
        reason="hralora sees neither time nor energy; at the ranks that it gives "
        f"even {describe(found[0])}. {repair}",
        shortfalls=found[::-1],
        least_round_time_s=least_s,
        repair=repair,
    )


def _least_s(problem: Problem, wanted: Allocation) -> float | None:
    """Round time within which the first device that keeps all other budgets is done."""
    costs = problem.under(round_time_s=None).costs
    able = wanted.taking_part & fits(costs, wanted.rows, wanted.row, problem.layers)
    own_s = cost(costs, costs.seconds, wanted.rows, wanted.row, wanted.depth)[able]
    return float(own_s.min()) if able.any() else None
