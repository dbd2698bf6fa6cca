"""Virtual time and bytes to accuracy where devices see very different labels."""

from benchmarks.cases.learning_rates import ADJUSTMENT, SKEWED
from benchmarks.cases.time_to_accuracy import FRONT, PROTOCOL, compare
from benchmarks.learning.arms import QUICK_ARMS, SKEWED_ARMS
from benchmarks.registry import Case, Job
from benchmarks.result import Figure


def measure(job: Job) -> list[Figure]:
    """Run every arm at every seed."""
    return compare(job, QUICK_ARMS if job.quick else SKEWED_ARMS, SKEWED)


CASE = Case(
    name="time-to-accuracy-skewed",
    summary="The same where devices see very different labels (Dirichlet, alpha 1)?",
    shortfall=(
        "Runs of one policy differ widely with labels like these, and every policy makes up "
        "for its devices' shares of the classes, peers too."
    ),
    front=FRONT,
    protocol=(
        f"As time-to-accuracy, but alpha {SKEWED:g}, and with every policy devices make up for "
        "the classes that they hold more of (`legend run --logit-adjustment "
        f"{ADJUSTMENT[SKEWED]:g}`). {PROTOCOL}"
    ),
    seeds=3,
    quick_seeds=1,
    measure=measure,
)
