"""The policies compared, each at the round time that suits it best.

A policy that takes a round time is offered a grid of them and keeps the plan of most utility
per second among those of utility `FLOOR` or more (where none has that, of most utility). That
is what our own objective `efficiency` finds exactly, so no policy is put at a disadvantage by
a budget that somebody chose for it. Arms that end in `-short` have a floor that none of them
feels, so each plays the rounds that are most efficient by the utility alone. `-int8` sends
uploads in eight bits, `-both` downloads too. With `-fill` devices that would wait train more
local steps (`solver.fill`): that is ours, and with a peer's plan it shows how much of a lead is
due to it alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from profiler.schema import InputError, read_fleet, write
from solver import Infeasible, Plan, Problem, solve
from solver.least import least_round_time_s

__all__ = [
    "ARMS",
    "CORE_ARMS",
    "FLOOR",
    "LEGEND",
    "OURS",
    "QUICK_ARMS",
    "SHORT_ARMS",
    "SKEWED_ARMS",
    "Arm",
    "write_plan",
]

FLOOR, NO_FLOOR = 0.9, 0.3
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
    over_grid : bool
        Whether its round time is the best of a grid, or whatever the question says.
    replans : bool
        Whether it plans anew while devices change.
    floor : float
        Least utility of its plan.
    """

    name: str
    policy: str
    question: Mapping[str, Any] = field(default_factory=dict)
    over_grid: bool = False
    replans: bool = False
    floor: float = FLOOR


def _exact(name: str, *, replans: bool = False, floor: float = FLOOR, **question: Any) -> Arm:
    """Arm of ours: the most utility a second, proven."""
    question = {"objective": "efficiency", "min_utility": floor, **question}
    return Arm(name=name, policy="exact", question=question, replans=replans, floor=floor)


def _peer(name: str, policy: str, floor: float = FLOOR, **question: Any) -> Arm:
    return Arm(name=name, policy=policy, question=question, over_grid=True, floor=floor)


# A least depth of all layers; how many that is, the fleet says.
ALL_LAYERS = -1
# Most times its own steps that a device takes in place of waiting.
FILL = 4.0
# Rounds in which a device is asked: 6 of 80 devices in each of 30.
ASKED = 2
ARMS = (
    _exact("exact"),
    _exact("exact-int8", upload_codec="int8"),
    _exact("exact-int8-fill", upload_codec="int8", fill_wait=FILL),
    _exact("exact-both-fill", upload_codec="int8", download_codec="int8", fill_wait=FILL),
    _exact("exact-int8-cache", upload_codec="int8", cache="auto", cache_rounds=ASKED),
    _exact("exact-int8-replan", upload_codec="int8", replans=True),
    _exact("own-int8", upload_codec="int8", structure="own"),
    _exact("capped-int8", upload_codec="int8", structure="capped"),
    _peer("legend", "legend"),
    _peer("legend-fill", "legend", fill_wait=FILL),
    _peer("legend-depth-only", "legend", ranks=(8,)),
    _peer("legend-ranks-only", "legend", min_depth=ALL_LAYERS),
    _peer("fedlora", "fedlora-straggler"),
    _peer("fedlora-fill", "fedlora-straggler", fill_wait=FILL),
    _peer("hetlora", "hetlora"),
    _peer("flexlora", "flexlora"),
    _peer("fedadapter", "fedadapter"),
    _peer("fedhello", "fedhello"),
    _peer("hralora", "hralora"),
)
OURS, LEGEND = "exact-both-fill", "legend"
QUICK_ARMS = (OURS, LEGEND, "fedlora")
# The other arms have a case of their own, time-to-accuracy-more: a run takes minutes.
CORE_ARMS = (
    OURS, "exact-int8", "exact", LEGEND, "legend-fill", "fedlora", "fedlora-fill", "hetlora",
    "fedadapter",
)  # fmt: skip
SKEWED_ARMS = (OURS, "exact-int8", LEGEND, "fedlora", "hetlora")
SHORT_ARMS = (
    _exact("exact-short", floor=NO_FLOOR),
    _exact("exact-int8-short", floor=NO_FLOOR, upload_codec="int8"),
    _peer("legend-short", "legend", NO_FLOOR),
    _peer("hetlora-short", "hetlora", NO_FLOOR),
    _peer("fedadapter-short", "fedadapter", NO_FLOOR),
)


def write_plan(arm: Arm, fleet_path: Path, path: Path) -> Plan:
    """Plan an arm and keep the plan; raises `InputError` where it has none.

    It is dated as its fleet, so that runs of it that are kept count on every day.
    """
    fleet = read_fleet(fleet_path)
    question = dict(arm.question)
    if question.get("min_depth") == ALL_LAYERS:
        question["min_depth"] = fleet.model.layers
    problem = Problem.of(fleet, policy=arm.policy, **question)
    plan = _best(problem, arm) if arm.over_grid else solve(problem)
    dated = replace(plan.provenance, created=fleet.provenance.created)
    plan = replace(plan, provenance=dated)
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
    good = [plan for plan in plans if plan.predicted.utility >= arm.floor]
    if good:
        return max(good, key=lambda plan: plan.predicted.utility / plan.predicted.round_time_s)
    return max(plans, key=lambda plan: plan.predicted.utility)
