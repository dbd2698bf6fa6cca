"""What planning anew saves on a fleet that changes, and what it costs."""

import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from benchmarks.fetch import fetch_model
from benchmarks.models import BASE
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure
from finetune.options import RunOptions
from finetune.replan.rehearse import Rehearsed, rehearse
from profiler.fleet import FleetRequest, preset_fleet
from profiler.schema import Fleet, InputError, Trace, write
from profiler.trace.generate import TraceRequest, generate_trace
from solver.least import least_round_time_s
from solver.planner import solve
from solver.problem import Problem

# The promise: the shortest feasible round, and a fifth more.
ROOM = 1.2
RANKS = (4, 8, 12, 16)
SAMPLE = 10
ROUNDS, QUICK_ROUNDS = 40, 15
LOCAL_STEPS = (10, 100)
# Every five rounds; or once times differ by 15 % from the plan's, on average.
WAYS: dict[str, dict[str, Any]] = {
    "static": {},
    "every 5": {"replan_every": 5},
    "on drift": {"replan_on_drift": 0.15},
}

PROTOCOL = f"""
The paper-80 fleet by closed forms, for {BASE} (12 layers) and for the 6-layer MiniLM, with
{LOCAL_STEPS[0]} local steps a round (the network takes most of a round) and {LOCAL_STEPS[1]}
(computing does); its preset trace, which switches power modes with 5 % and moves bandwidths
(sigma 0.4, correlation 0.8) each round. Most utility within {ROOM} times the least feasible
round time of the first round; ranks {RANKS}. {ROUNDS} rounds, {SAMPLE} devices each, on the
virtual clock alone (`finetune.replan.rehearse`; a test holds it against real runs): under the
first plan, with a new plan every 5 rounds, and at a drift of 15 %. Fleet, trace and sampling
have the seed of the repetition; the clock has no noise. Ratios are of means over the rounds.
CPU seconds are of the solver's processes and of observing, per plan asked for.
"""


class Setting(NamedTuple):
    """What is planned for, and the promised round time."""

    fleet: Fleet
    trace: Trace
    plan: Path
    promise_s: float


class Played(NamedTuple):
    """A whole rehearsal, plans adopted, and CPU seconds for each plan asked for."""

    rounds: list[Rehearsed]
    plans: int
    cpu_s: float


def measure(job: Job) -> list[Figure]:
    """Rehearse every way in every setting."""
    rounds = QUICK_ROUNDS if job.quick else ROUNDS
    models = {BASE: BASE, "MiniLM, 6 layers": str(fetch_model())}
    figures = []
    for name, model in models.items():
        for steps in LOCAL_STEPS[1:] if job.quick else LOCAL_STEPS:
            setting = f"{name}, {steps} local steps"
            job.say(setting)
            figures += _compare(setting, model, steps, rounds, job.seeds)
    return figures


def _compare(setting: str, model: str, steps: int, rounds: int, seeds: int) -> list[Figure]:
    """Figures of one setting over the seeds."""
    played: dict[str, list[Played]] = {way: [] for way in WAYS}
    promises_s = []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            given = _setting(Path(folder), model, steps, rounds, seed)
            promises_s.append(given.promise_s)
            for way in WAYS:
                played[way].append(_play(given, way, rounds, seed, Path(folder)))
    figures = []
    for way, plays in played.items():
        where = f"{setting}, {way}"
        over = [_over(p.rounds, s) for p, s in zip(plays, promises_s, strict=True)]
        figures.append(figure("rounds over the promised time", over, "1", setting=where))
        if way != "static":
            pairs = list(zip(plays, played["static"], strict=True))
            figures += _savings(where, pairs)
    return figures


def _setting(folder: Path, model: str, steps: int, rounds: int, seed: int) -> Setting:
    fleet = preset_fleet(
        FleetRequest(seed=seed, model=model, local_steps=steps, all_modes=True, options={})
    )
    trace = generate_trace(fleet, TraceRequest(rows=rounds, seed=seed))
    problem = Problem.of(fleet, ranks=RANKS)
    least_s = least_round_time_s(problem)
    if least_s is None:
        raise InputError(f"paper-80, seed {seed}: no round time is long enough")
    plan = folder / "plan.json"
    write(plan, solve(problem.under(round_time_s=ROOM * least_s)))
    return Setting(fleet, trace, plan, ROOM * least_s)


def _play(given: Setting, way: str, rounds: int, seed: int, folder: Path) -> Played:
    """Rehearse, with the CPU seconds of observing and of asking the solver."""
    options = RunOptions(rounds=rounds, sample=SAMPLE, seed=seed, **WAYS[way])
    before = _children_s() + time.process_time()
    done = list(rehearse(given.plan, given.fleet, given.trace, options, folder))
    spent_s = _children_s() + time.process_time() - before
    asked = sum(played.asked for played in done)
    return Played(done, done[-1].number, spent_s / max(asked, 1))


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _over(rounds: Sequence[Rehearsed], promise_s: float) -> float:
    return fmean(float(played.cost.time_s > promise_s) for played in rounds)


def _savings(where: str, pairs: Sequence[tuple[Played, Played]]) -> list[Figure]:
    """Ratios of a way to the static plan."""

    def ratios(of: str) -> list[float]:
        return [
            fmean(_value(r, of) for r in new.rounds) / fmean(_value(r, of) for r in old.rounds)
            for new, old in pairs
        ]

    return [
        figure("round time, over static", ratios("time"), "1", setting=where),
        figure("mean wait, over static", ratios("wait"), "1", setting=where),
        figure("planned utility, over static", ratios("utility"), "1", setting=where),
        figure("plans adopted", [new.plans for new, _ in pairs], "plans", setting=where),
        figure("CPU time a plan", [new.cpu_s for new, _ in pairs], "s", setting=where),
    ]


def _value(played: Rehearsed, of: str) -> float:
    return {
        "time": played.cost.time_s,
        "wait": played.cost.mean_wait_s,
        "utility": played.plan.predicted.utility,
    }[of]


CASE = Case(
    name="replan",
    summary="What does planning anew save on a fleet that changes, and what does it cost?",
    protocol=PROTOCOL,
    seeds=3,
    quick_seeds=2,
    measure=measure,
)
