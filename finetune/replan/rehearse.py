"""Play the clock of a run without its training: what rounds take, and what re-planning saves.

Times, waits, bytes and plans are those that `finetune.run` records with the same plan, fleet,
trace and options, as none of them depends on what is learnt; but for ``--local-epochs`` and
for aggregations that send other bytes than the plan says (`finetune.server.traffic`), which are
not rehearsed. It needs no torch.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from finetune.clock.bill import RoundCost
from finetune.clock.conditions import Moment
from finetune.clock.protocol import ask
from finetune.clock.virtual import VirtualClock
from finetune.devices import participants
from finetune.options import RunOptions
from finetune.replan.replanner import Replanner
from profiler.schema import Fleet, Trace
from solver.plan import Plan, read_plan

__all__ = ["Rehearsed", "rehearse"]


class Rehearsed(NamedTuple):
    """A round: its cost, who was late, whether a plan was asked for, and the one in force."""

    cost: RoundCost
    late: list[str]
    asked: bool
    number: int
    plan: Plan


def rehearse(
    plan_path: Path, fleet: Fleet, trace: Trace | None, options: RunOptions, out: Path
) -> Iterator[Rehearsed]:
    """Play the rounds that `options` ask for, on the virtual clock.

    Parameters
    ----------
    plan_path : Path
        Plan to begin with.
    fleet, trace
        Conditions.
    options : RunOptions
        Rounds, sample, seed, deadline and when to plan anew.
    out : Path
        Folder for the files of new plans.

    Raises
    ------
    InputError
        If plan, fleet and trace do not fit each other, or the solver fails.
    """
    plan = read_plan(plan_path)
    planner = Replanner(fleet, plan_path, out, options)
    clock = VirtualClock(plan, fleet, trace, options.deadline_s)
    number, now_s, off = 0, 0.0, 0.0
    for index in range(options.rounds):
        due = planner.due(index, off)
        if due and (answer := planner.ask(number + 1)).plan is not None:
            number, plan = number + 1, answer.plan
            clock = VirtualClock(plan, fleet, trace, options.deadline_s, clock.caches)
        devices, when = participants(plan), Moment(index, now_s)
        asked = ask(devices, clock, when, options)
        bill = clock.bill(asked, when)
        measured = [(device, bill.charges[device.name]) for device in asked]
        planner.see(plan, clock.present(when) or {}, measured)
        now_s, off = now_s + bill.cost.time_s, planner.drift(plan, devices)
        yield Rehearsed(bill.cost, list(bill.late), due, number, plan)
