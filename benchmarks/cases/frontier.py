"""The Pareto curve of utility against round time."""

import time

from benchmarks.instances import paper_80
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, Series, figure

POINTS = 100
TARGET_S, TARGET_GAP = 1.0, 1e-9

PROTOCOL = f"""
`solver.frontier.frontier_points` with {POINTS} round times on paper-80 (12 layers, ranks 1 to
64), one fleet a seed, in one process after one curve of 2 points that loads the modules. Every
point is a proven optimum; dominated ones are left out of the curve.
"""


def measure(job: Job) -> list[Figure]:
    """Draw the curve once a seed."""
    from solver.frontier import frontier_points

    frontier_points(paper_80(0).under(round_time_s=None), 2)
    seconds, gaps, kept = [], [], []
    for seed in range(job.seeds):
        job.say(f"seed {seed}")
        problem = paper_80(seed).under(round_time_s=None)
        began = time.perf_counter()
        points = frontier_points(problem, POINTS)
        seconds.append(time.perf_counter() - began)
        gaps.append(max(point.gap_fraction for point in points))
        kept.append(float(len(points)))
        columns = {
            "round_time_s": [point.round_time_s for point in points],
            "utility": [point.utility for point in points],
        }
        job.series.append(Series(name="frontier", seed=seed, columns=columns))
    setting = f"80 devices x 12 layers x 64 ranks, {POINTS} points"
    return [
        figure("curve", seconds, "s", setting=setting, target=TARGET_S),
        figure(
            "largest gap", gaps, "1", setting=setting, target=TARGET_GAP, judged="worst"
        ),
        figure("points kept", kept, "points", setting=setting, better="high"),
    ]  # fmt: skip


CASE = Case(
    name="frontier",
    summary="How long does the Pareto curve of utility against round time take?",
    protocol=PROTOCOL,
    seeds=10,
    quick_seeds=3,
    measure=measure,
)
