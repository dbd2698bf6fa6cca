"""Local steps in place of waiting: a device that would wait trains more of them instead.

A round lasts as long as its slowest device or busiest link. Once a plan says who trains which
layers at which rank, device i has ``T - t_i`` seconds left, in which it can take

    min(floor((T - t_i) / step_i), floor((c - 1) steps_i), floor((E - e_i) / (power_i step_i)))

more local steps of ``step_i`` seconds, with c the most times its own number of steps and E a
budget on its energy, the question's or its own; a limit on its own time stands beside T.
Nothing else changes: not the round time, not what travels, not the memory, and not the utility,
which counts layers and ranks and not steps; so what was proven of the plan without them holds
with them. A budget on the mean wait counts what is left of the
waits (`solver.fill_budget`). Devices of more steps move further from the others
between two rounds; c bounds that (Wang et al., "Tackling the Objective Inconsistency Problem in
Heterogeneous Federated Optimization", NeurIPS 2020, arXiv 2007.07481).
"""

from dataclasses import replace

import numpy as np

from solver.allocation import Allocation, cost, round_time_s
from solver.costs.build import build_costs
from solver.costs.devices import Floats, Ints
from solver.costs.limited import OWN_ENERGY, OWN_TIME
from solver.costs.resource import Resource
from solver.problem import Problem

__all__ = ["filled"]

# What more local steps take more of, beside the round's time.
_SPENT = ("energy", OWN_ENERGY, OWN_TIME)


def filled(problem: Problem, allocation: Allocation) -> Problem:
    """Return the problem with the local steps that an allocation has time for.

    Parameters
    ----------
    problem : Problem
        Its question says how many times their own steps devices take at most.
    allocation : Allocation
        Keeps every budget.
    """
    if problem.question.fill_wait == 1:
        return problem
    devices = replace(problem.costs.devices, local_steps=_steps(problem, allocation))
    costs = build_costs(problem.fleet, problem.question, devices, problem.costs.stack_bytes)
    return replace(problem, costs=costs)


def _steps(problem: Problem, allocation: Allocation) -> Ints:
    """Local steps of every device, at least its own, shape (N,)."""
    costs, part = problem.costs, allocation.taking_part
    own = costs.devices.local_steps
    # No file counts further.
    most = np.minimum(np.floor(problem.question.fill_wait * own), 2.0**53)
    timed = [(costs.seconds, np.full(len(own), round_time_s(problem, allocation)))]
    timed += [(q, np.asarray(q.limit)) for q in costs.resources if q.name in _SPENT]
    for q, limit in timed:
        spent = cost(costs, q, allocation.rows, allocation.row, allocation.depth)
        step = _of_a_step(problem, allocation, q)
        with np.errstate(divide="ignore", invalid="ignore"):
            more = np.where(step > 0, np.floor((limit - spent) / step), np.inf)
        most = np.minimum(most, own + more.clip(0))
    return np.where(part, most, own).astype(np.int64)


def _of_a_step(problem: Problem, allocation: Allocation, q: Resource) -> Floats:
    """What a local step costs every device, shape (N,)."""
    rows, row, depth = allocation.rows, allocation.row, allocation.depth
    nothing = np.zeros(len(depth))
    steps = replace(q, offset=nothing, wire=nothing, flat=None)
    return cost(problem.costs, steps, rows, row, depth) / problem.costs.devices.local_steps
