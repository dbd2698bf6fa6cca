"""Virtual time and bytes to accuracy if every policy plays its most efficient rounds."""

from benchmarks.cases.learning_rates import ALPHA
from benchmarks.cases.time_to_accuracy import FRONT, PROTOCOL, compare
from benchmarks.learning.arms import SHORT_ARMS
from benchmarks.registry import Case, Job
from benchmarks.result import Figure

OURS = "exact-int8-short"
# A policy whose plan has no other utility to offer plays what it plays with a floor.
ARMS_HERE = (*(arm.name for arm in SHORT_ARMS), "fedlora")
QUICK_ARMS = (OURS, "legend-short")


def measure(job: Job) -> list[Figure]:
    """Run every arm at every seed."""
    return compare(job, QUICK_ARMS if job.quick else ARMS_HERE, ALPHA, OURS)


CASE = Case(
    name="time-to-accuracy-short",
    summary="The same where no policy has to reach a utility, only the most a second?",
    shortfall=(
        "Without a least utility the plans of peers become tiny adapters, and on a task "
        "this easy those learn as fast as ours."
    ),
    front=FRONT,
    protocol=f"As time-to-accuracy, but without the least utility of plans. {PROTOCOL}",
    seeds=3,
    quick_seeds=1,
    measure=measure,
)
