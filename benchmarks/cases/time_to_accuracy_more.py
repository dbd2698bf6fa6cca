"""Virtual time and bytes to accuracy of the arms that time-to-accuracy leaves out."""

from benchmarks.cases.learning_rates import ALPHA
from benchmarks.cases.time_to_accuracy import FRONT, PROTOCOL, compare
from benchmarks.learning.arms import ARMS, CORE_ARMS, OURS
from benchmarks.registry import Case, Job
from benchmarks.result import Figure

MORE_ARMS = (OURS, *(arm.name for arm in ARMS if arm.name not in CORE_ARMS))
QUICK_ARMS = MORE_ARMS[:2]


def measure(job: Job) -> list[Figure]:
    """Run every arm at every seed."""
    return compare(job, QUICK_ARMS if job.quick else MORE_ARMS, ALPHA)


CASE = Case(
    name="time-to-accuracy-more",
    summary="The same for re-planning, ranks of their own and further peers?",
    shortfall=(
        "As in time-to-accuracy: the targets are the paper's figures, and on this task all "
        "policies end alike."
    ),
    front=FRONT,
    protocol=f"As time-to-accuracy, with other arms. {PROTOCOL}",
    seeds=3,
    quick_seeds=1,
    measure=measure,
)
