"""Shared access links: gap and time with a hundred links on three levels."""

import time

from msgspec.structs import replace

from benchmarks.instances import paper_80_fleet
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure

DEVICES, ACCESS_POINTS, SITES = 1000, 90, 9
QUICK_DEVICES, QUICK_ACCESS_POINTS, QUICK_SITES = 200, 18, 2
STRUCTURES = ("shared", "capped", "own")
ROOM = 1.5
TARGET_GAP, TARGET_S = 2e-3, 30.0

PROTOCOL = f"""
paper-80 stretched to {DEVICES} devices behind {ACCESS_POINTS} access points, {SITES} sites and
the server's link (12 layers, ranks 1 to 64), one fleet a seed; the short form has
{QUICK_DEVICES} devices behind {QUICK_ACCESS_POINTS} and {QUICK_SITES}. Most utility at {ROOM}
times the least feasible round time, for shared, capped and own ranks in turn, in one process
after one small plan that loads the modules. The gap is the plan's own certificate. There is no
budget on the mean wait. CPU seconds are the process's own.
"""


def measure(job: Job) -> list[Figure]:
    """Plan once a seed and structure."""
    from profiler.fleet_links import draw_links
    from solver.exact import maximise_utility
    from solver.explain import least_round_time_s
    from solver.outcome import relative_gap
    from solver.problem import Problem

    def problem(seed: int, devices: int, points: int, sites: int, structure: str) -> Problem:
        fleet = paper_80_fleet(seed, devices=devices)
        behind, links = draw_links(fleet.devices, points, sites, seed)
        fleet = replace(fleet, devices=behind, links=links)
        patient = Problem.of(fleet, structure=structure)  # type: ignore[arg-type]
        return patient.under(round_time_s=ROOM * (least_round_time_s(patient) or 0.0))

    size = (
        (QUICK_DEVICES, QUICK_ACCESS_POINTS, QUICK_SITES)
        if job.quick
        else (DEVICES, ACCESS_POINTS, SITES)
    )
    maximise_utility(problem(0, 20, 2, 1, "shared"))
    figures = []
    for structure in STRUCTURES:
        gaps, wall, cpu = [], [], []
        for seed in range(job.seeds):
            job.say(f"{structure} ranks, seed {seed}")
            posed = problem(seed, *size, structure)
            began, began_cpu = time.perf_counter(), time.process_time()
            found = maximise_utility(posed)
            wall.append(time.perf_counter() - began)
            cpu.append(time.process_time() - began_cpu)
            gaps.append(relative_gap(found.value, found.bound or 0.0, "utility"))
        setting = f"{size[0]} devices, {1 + size[1] + size[2]} links, {structure} ranks"
        figures += [
            figure("gap", gaps, "1", setting=setting, target=TARGET_GAP, judged="worst"),
            figure("planning time", wall, "s", setting=setting, target=TARGET_S),
            figure("CPU time", cpu, "s", setting=setting),
        ]
    return figures


CASE = Case(
    name="links",
    summary="How tight and how fast are plans under shared links?",
    protocol=PROTOCOL,
    seeds=10,
    quick_seeds=3,
    measure=measure,
)
