"""Shared access links: gap and time with a hundred links on three levels."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from msgspec.structs import replace

from benchmarks.instances import paper_80_fleet
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure

if TYPE_CHECKING:
    from solver.outcome import Outcome
    from solver.plan import Structure
    from solver.problem import Problem

DEVICES, ACCESS_POINTS, SITES = 1000, 90, 9
QUICK_DEVICES, QUICK_ACCESS_POINTS, QUICK_SITES = 200, 18, 2
STRUCTURES: tuple["Structure", ...] = ("shared", "capped", "own")
QUESTIONS = (
    "no budget on the wait", "tight round", "budget on the wait", "tight budget on the wait",
)  # fmt: skip
ROOM, TIGHT = 1.5, 1.05
# Shares of the wait of the plan that nobody asked to wait less.
WAITS = (0.9, 0.6)
TARGET_GAP, TARGET_S = 2e-3, 30.0

PROTOCOL = f"""
paper-80 stretched to {DEVICES} devices behind {ACCESS_POINTS} access points, {SITES} sites and
the server's link (12 layers, ranks 1 to 64), one fleet a seed; the short form has
{QUICK_DEVICES} devices behind {QUICK_ACCESS_POINTS} and {QUICK_SITES}. Most utility at {ROOM}
times the least feasible round time; at {TIGHT} times, where the links leave next to nothing;
and at {ROOM} times with a budget on the mean wait of {WAITS[0]} and of {WAITS[1]} of what the
plan without one waits. Each for shared, capped and own ranks in turn, in one process after one
small plan that loads the modules. The gap is the plan's own certificate. CPU seconds are the
process's own.
"""


def measure(job: Job) -> list[Figure]:
    """Plan four questions once a seed and structure."""
    from solver.allocation import mean_wait_s
    from solver.exact import maximise_utility

    short = job.quick
    size = Size(
        devices=QUICK_DEVICES if short else DEVICES,
        points=QUICK_ACCESS_POINTS if short else ACCESS_POINTS,
        sites=QUICK_SITES if short else SITES,
    )
    maximise_utility(_problem(0, Size(devices=20, points=2, sites=1), "shared", ROOM))
    figures = []
    for structure in STRUCTURES:
        runs: dict[str, list[_Run]] = {what: [] for what in QUESTIONS}
        for seed in range(job.seeds):
            job.say(f"{structure} ranks, seed {seed}")
            posed = _problem(seed, size, structure, ROOM)
            free = _Run.of(posed)
            waits_s = mean_wait_s(posed, free.found.allocation)
            tight = _Run.of(_problem(seed, size, structure, TIGHT))
            patient = [_Run.of(posed.under(mean_wait_s=share * waits_s)) for share in WAITS]
            for what, run in zip(QUESTIONS, (free, tight, *patient), strict=True):
                runs[what].append(run)
        for what, each in runs.items():
            links = 1 + size.points + size.sites
            setting = f"{structure}, {what}; {size.devices} devices, {links} links"
            figures += [
                figure(
                    "gap", [run.gap for run in each], "1",
                    setting=setting, target=TARGET_GAP, judged="worst",
                ),
                figure(
                    "planning time", [run.wall_s for run in each], "s",
                    setting=setting, target=TARGET_S,
                ),
                figure("CPU time", [run.cpu_s for run in each], "s", setting=setting),
            ]  # fmt: skip
    return figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Devices, and the links between them and the server's."""

    devices: int
    points: int
    sites: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A plan, and what it took."""

    found: "Outcome"
    wall_s: float
    cpu_s: float

    @classmethod
    def of(cls, posed: "Problem") -> Self:
        from solver.exact import maximise_utility

        began, began_cpu = time.perf_counter(), time.process_time()
        found = maximise_utility(posed)
        return cls(
            found=found,
            wall_s=time.perf_counter() - began,
            cpu_s=time.process_time() - began_cpu,
        )

    @property
    def gap(self) -> float:
        from solver.outcome import relative_gap

        return relative_gap(self.found.value, self.found.bound or 0.0, "utility")


def _problem(seed: int, size: Size, structure: "Structure", room: float) -> "Problem":
    from profiler.fleet.links import draw_links
    from solver.least import least_round_time_s
    from solver.problem import Problem

    fleet = paper_80_fleet(seed, devices=size.devices)
    behind, links = draw_links(fleet.devices, size.points, size.sites, seed)
    patient = Problem.of(replace(fleet, devices=behind, links=links), structure=structure)
    return patient.under(round_time_s=room * (least_round_time_s(patient) or 0.0))


CASE = Case(
    name="links",
    summary="How tight and how fast are plans under shared links?",
    shortfall=(
        "The bound is what is loose at a tight wait: prices let a device mix ranks, and "
        "five times the work moved the shared bound by 0.0001."
    ),
    protocol=PROTOCOL,
    seeds=3,
    quick_seeds=1,
    measure=measure,
)
