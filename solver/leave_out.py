"""Plan without the devices that cannot take part at all."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from solver.allocation import LEFT_OUT, Allocation
from solver.costs.build import build_costs
from solver.explain.infeasible import infeasible
from solver.least import least_allocation
from solver.outcome import Outcome
from solver.problem import Problem


def plan_able(problem: Problem, plan: Callable[[Problem], Outcome]) -> Outcome:
    """Plan for everybody, or without the unable where the question leaves them out."""
    unable_out = problem.question.leave_out == "unable"
    return without_unable(problem, plan) if unable_out else plan(problem)


def without_unable(problem: Problem, plan: Callable[[Problem], Outcome]) -> Outcome:
    """Plan for the devices that can train their least configuration; leave the others out.

    Parameters
    ----------
    problem : Problem
        All devices; those left out keep their weight, so the utility shows what is missing.
    plan : callable
        A policy's method.

    Raises
    ------
    Infeasible
        If no device can take part.
    """
    able = least_allocation(problem).taking_part
    if able.all():
        return plan(problem)
    if not able.any():
        raise infeasible(problem, everybody=False)
    devices = problem.costs.devices.select(np.flatnonzero(able))
    costs = build_costs(problem.fleet, problem.question, devices)
    outcome = plan(replace(problem, costs=costs, weights=problem.weights[able]))
    row, depth = np.zeros(len(able), dtype=np.int64), np.full(len(able), LEFT_OUT)
    row[able], depth[able] = outcome.allocation.row, outcome.allocation.depth
    whole = Allocation(rows=outcome.allocation.rows, row=row, depth=depth)
    return replace(outcome, allocation=whole, method=f"{outcome.method}, unable left out")
