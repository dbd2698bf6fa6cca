"""The policies compared, each at the round time that suits it best.

A policy that takes a round time is offered a grid of them and keeps the plan of most utility
per second among those of utility `FLOOR` or more (where none has that, of most utility). That
is what our own objective `efficiency` finds exactly, so no policy is put at a disadvantage by
a budget that somebody chose for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from profiler.schema import InputError, read_fleet, write
from solver import Infeasible, Plan, Problem, solve
from solver.explain import least_round_time_s

__all__ = ["ARMS", "FLOOR", "Arm", "write_plan"]

FLOOR = 0.9
GRID, LONGEST = 24, 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One policy with its options.

    Attributes
    ----------
    name : str
    policy : str
    question : mapping
        Further arguments of `Problem.of`.
    ours : bool
        Whether it is planned by objective, not over the grid of round times.
    replans : bool
        Whether it plans anew while devices change.
    """

    name: str
    policy: str
    question: Mapping[str, Any] = field(default_factory=dict)
    ours: bool = False
    replans: bool = False


_CACHED = {"cache": "auto", "upload_codec": "int8"}
ARMS = (
    Arm(name="exact", policy="exact", ours=True),
    Arm(name="exact-cache", policy="exact", question={"cache": "auto"}, ours=True),
    Arm(name="exact-cache-int8", policy="exact", question=_CACHED, ours=True),
    Arm(name="exact-replan", policy="exact", question=_CACHED, ours=True, replans=True),
    Arm(
        name="own-cache-int8",
        policy="exact",
        question={"structure": "own", **_CACHED},
        ours=True,
    ),
    Arm(name="legend", policy="legend"),
    Arm(name="legend-depth-only", policy="legend", question={"ranks": (8,)}),
    Arm(name="legend-ranks-only", policy="legend", question={"min_depth": -1}),
    Arm(name="fedlora", policy="fedlora-straggler"),
    Arm(name="hetlora", policy="hetlora"),
    Arm(name="flexlora", policy="flexlora"),
    Arm(name="fedadapter", policy="fedadapter"),
    Arm(name="fedhello", policy="fedhello"),
    Arm(name="hralora", policy="hralora"),
)


def write_plan(arm: Arm, fleet_path: Path, path: Path) -> Plan:
    """Plan an arm and keep the plan; raises `InputError` where it has none."""
    fleet = read_fleet(fleet_path)
    question = dict(arm.question)
    if question.get("min_depth") == -1:
        question["min_depth"] = fleet.model.layers
    if arm.ours:
        problem = Problem.of(fleet, objective="efficiency", min_utility=FLOOR, **question)
        plan = solve(problem)
    else:
        plan = _best(Problem.of(fleet, policy=arm.policy, **question), arm)
    write(path, plan)
    return plan


def _best(problem: Problem, arm: Arm) -> Plan:
    """Best plan of a policy over the grid of round times, and without one."""
    shortest_s = least_round_time_s(problem)
    assert shortest_s is not None
    times = [None, *np.geomspace(shortest_s, LONGEST * shortest_s, GRID).tolist()]
    plans = []
    for seconds in times:
        try:
            plans.append(solve(problem.under(round_time_s=seconds)))
        except Infeasible:
            continue
    if not plans:
        raise InputError(f"policy '{arm.policy}' has no plan at any round time")
    good = [plan for plan in plans if plan.predicted.utility >= FLOOR]
    if good:
        return max(good, key=lambda plan: plan.predicted.utility / plan.predicted.round_time_s)
    return max(plans, key=lambda plan: plan.predicted.utility)
