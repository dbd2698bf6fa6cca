"""Whether a plan for most of one trace keeps its promise on another."""

import tempfile
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from benchmarks.models import BASE
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure
from finetune.clock.charge import Tariff
from finetune.clock.conditions import Conditions, Moment
from finetune.devices import participants
from finetune.options import RunOptions
from finetune.replan.rehearse import rehearse
from profiler.fleet import FleetRequest, preset_fleet
from profiler.schema import Fleet, InputError, Trace, write
from profiler.trace.generate import TraceRequest, generate_trace
from profiler.trace.within import fleet_within
from solver.least import least_round_time_s
from solver.plan import Plan
from solver.planner import solve
from solver.problem import Problem

SHARES, QUICK_SHARES = (0.5, 0.9, 0.95, 0.99), (0.9,)
# The promise: the shortest round that the slowest fleet can play, and a tenth more.
ROOM = 1.1
RANKS = (4, 8, 12, 16)
ROUNDS, SAMPLE = 200, 10
# Seeds of what comes, apart from those of what was seen.
LATER = 1000

PROTOCOL = f"""
The paper-80 fleet by closed forms, for {BASE}, 10 local steps, and two traces of it of {ROUNDS}
rounds that differ in their seed: one that was seen, and one that comes. Modes switch with 5 %,
bandwidths move (sigma 0.4, correlation 0.8) each round. Plans of most utility (ranks {RANKS})
within {ROOM} times the least feasible round time of the fleet that is as slow as each device is
at most in {SHARES[-1]:.0%} of what was seen: for the fleet as it is before both traces, and for
fleets as slow as each device is at most in {", ".join(f"{s:.0%}" for s in SHARES)} of what was
seen. They are played on what comes, on the virtual clock. Late: of all devices in all rounds,
those that take longer than the promised round. Longer rounds: {SAMPLE} devices are asked in
each, and one that is late makes it so. Targets were set before measuring: no more devices late
than the share leaves.
"""


class Setting(NamedTuple):
    """A fleet, what was seen of it, what comes, and the promised round."""

    fleet: Fleet
    seen: Trace
    comes: Trace
    promise_s: float


class Kept(NamedTuple):
    """What became of a plan."""

    late: float
    longer: float
    utility: float
    mean_wait_s: float


def measure(job: Job) -> list[Figure]:
    """Plan for every share and play it, at every seed."""
    found: dict[str, list[Kept]] = {}
    for seed in range(job.seeds):
        job.say(f"seed {seed}")
        given = _setting(seed)
        fleets = {"as it is": given.fleet} | {
            f"within {share:.0%}": fleet_within(given.fleet, given.seen, share)
            for share in (QUICK_SHARES if job.quick else SHARES)
        }
        for name, fleet in fleets.items():
            found.setdefault(name, []).append(_played(given, fleet, seed))
    now = found["as it is"]
    targets = {f"within {share:.0%}": 100 * (1 - share) for share in SHARES}
    figures = []
    for name, kept in found.items():
        ratios = [each.utility / first.utility for each, first in zip(kept, now, strict=True)]
        figures += [
            figure("late devices", [100 * each.late for each in kept], "%",
                   setting=name, target=targets.get(name)),
            figure("longer rounds", [100 * each.longer for each in kept], "%", setting=name),
            figure("utility, over that of the plan as it is", ratios, "1",
                   setting=name, better="high"),
            figure("mean wait", [each.mean_wait_s for each in kept], "s", setting=name),
        ]  # fmt: skip
    return figures


def _setting(seed: int) -> Setting:
    fleet = preset_fleet(FleetRequest(seed=seed, model=BASE, all_modes=True, options={}))
    seen, comes = (
        generate_trace(fleet, TraceRequest(rows=ROUNDS, seed=each))
        for each in (seed, LATER + seed)
    )
    slowest = fleet_within(fleet, seen, SHARES[-1])
    least_s = least_round_time_s(Problem.of(slowest, ranks=RANKS))
    if least_s is None:
        raise InputError(f"paper-80, seed {seed}: no round time is long enough")
    return Setting(fleet, seen, comes, ROOM * least_s)


def _played(given: Setting, fleet: Fleet, seed: int) -> Kept:
    """Plan for a fleet, and play the plan on what comes."""
    made = solve(Problem.of(fleet, ranks=RANKS, round_time_s=given.promise_s))
    options = RunOptions(rounds=ROUNDS, sample=SAMPLE, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plan.json"
        write(path, made)
        rounds = list(rehearse(path, given.fleet, given.comes, options, Path(folder)))
    return Kept(
        late=_late(given, made),
        longer=fmean(each.cost.time_s > given.promise_s for each in rounds),
        utility=made.predicted.utility,
        mean_wait_s=fmean(each.cost.mean_wait_s for each in rounds),
    )


def _late(given: Setting, plan: Plan) -> float:
    """Share of all devices in all rounds that take longer than promised."""
    tariff, conditions = Tariff(given.fleet, plan), Conditions(given.fleet, given.comes)
    devices = participants(plan)
    return fmean(
        tariff.charge(device, there[device.owner]).time_s > given.promise_s
        for there in (conditions.at(Moment(index)) for index in range(ROUNDS))
        for device in devices
    )


CASE = Case(
    name="changing-fleet",
    summary="Does a plan for most of one trace keep its promise on another?",
    protocol=PROTOCOL,
    seeds=10,
    quick_seeds=3,
    measure=measure,
)
