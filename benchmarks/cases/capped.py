"""Capped ranks: how close the bound comes, and what it takes."""

import time

from msgspec.structs import replace

from benchmarks.instances import paper_80
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure

SIZES = (80, 1000)
RANKS = range(1, 66)
TARGET_GAP, TARGET_S = 1e-3, 5.0

PROTOCOL = """
`solver.exact.maximise_utility` with structure `capped` on paper-80 and on the same preset with
1,000 devices (12 layers, ranks 1 to 65, 1.5 times the least feasible round time), one fleet a
seed, in one process after one small plan that loads the modules. The gap is between the plan's
utility and the bound proven for it, relative to the bound. Beside it: how much more the plan
earns than the best shared ranks, and how far its bound lies below that of ranks of their own
for every device. CPU seconds are those of the process, wall seconds those of the clock.
"""


def measure(job: Job) -> list[Figure]:
    """Plan for every size and seed."""
    _plan(0, 80, RANKS[:4])
    return [
        one
        for size in SIZES
        for one in _figures(size, [_run(job, seed, size) for seed in range(job.seeds)])
    ]


def _run(job: Job, seed: int, size: int) -> dict[str, float]:
    job.say(f"seed {seed}: {size} devices")
    return _plan(seed, size, RANKS)


def _plan(seed: int, size: int, ranks: range) -> dict[str, float]:
    from solver.exact import maximise_utility, utility_bound
    from solver.outcome import relative_gap

    shared = paper_80(seed, devices=size, ranks=ranks)
    capped = shared.asking(replace(shared.question, structure="capped"))
    cpu, wall = time.process_time(), time.perf_counter()
    outcome = maximise_utility(capped)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert outcome.bound is not None
    return {
        "gap": relative_gap(outcome.value, outcome.bound, "utility"),
        "cpu": cpu,
        "wall": wall,
        "gain": outcome.value / maximise_utility(shared).value - 1,
        "below own": 1 - outcome.bound / utility_bound(capped),
    }


def _figures(size: int, runs: list[dict[str, float]]) -> list[Figure]:
    setting = f"{size} devices x 12 layers x 65 ranks"

    def every(name: str) -> list[float]:
        return [run[name] for run in runs]

    return [
        figure(
            "gap to the bound", every("gap"), "1",
            setting=setting, target=TARGET_GAP, judged="worst",
        ),
        figure("CPU seconds", every("cpu"), "s", setting=setting, target=TARGET_S),
        figure("wall seconds", every("wall"), "s", setting=setting),
        figure("gain over shared ranks", every("gain"), "1", setting=setting, better="high"),
        figure(
            "bound below that of own ranks", every("below own"), "1",
            setting=setting, better="high",
        ),
    ]  # fmt: skip


CASE = Case(
    name="capped",
    summary="How near the optimum are capped ranks proven to be, and how fast?",
    protocol=PROTOCOL,
    seeds=10,
    quick_seeds=3,
    measure=measure,
)
