"""Virtual time and bytes to accuracy where devices see very different labels."""

from benchmarks.cases.time_to_accuracy import PROTOCOL, compare
from benchmarks.learning.arms import OURS, QUICK_ARMS
from benchmarks.registry import Case, Job
from benchmarks.result import Figure

ALPHA = 1.0
ARMS_HERE = (OURS, "exact-int8", "legend", "fedlora", "hetlora")


def measure(job: Job) -> list[Figure]:
    """Run every arm at every seed."""
    return compare(job, QUICK_ARMS if job.quick else ARMS_HERE, ALPHA)


CASE = Case(
    name="time-to-accuracy-skewed",
    summary="The same where devices see very different labels (Dirichlet, alpha 1)?",
    protocol=f"As time-to-accuracy, but alpha {ALPHA:g}. {PROTOCOL}",
    seeds=3,
    quick_seeds=1,
    measure=measure,
)
