"""The learning rate of each policy where devices see very different labels."""

from benchmarks.cases.learning_rates import (
    ADJUSTMENT,
    CHOSEN_BY,
    PROTOCOL,
    SKEWED,
    score_rates,
)
from benchmarks.learning.arms import QUICK_ARMS, SKEWED_ARMS
from benchmarks.registry import Case, Job
from benchmarks.result import Figure


def measure(job: Job) -> list[Figure]:
    """Run every arm at every rate and seed."""
    return score_rates(job, QUICK_ARMS if job.quick else SKEWED_ARMS, SKEWED)


CASE = Case(
    name=CHOSEN_BY[SKEWED],
    summary="The same where devices see very different labels (Dirichlet, alpha 1)?",
    protocol=(
        "As learning-rates, but with the arms of time-to-accuracy-skewed, labels spread by a "
        f"Dirichlet of {SKEWED:g} and losses as there (`legend run --logit-adjustment "
        f"{ADJUSTMENT[SKEWED]:g}`), and more seeds: here one seed's best rate is another's "
        f"worst. {PROTOCOL}"
    ),
    seeds=3,
    quick_seeds=1,
    measure=measure,
)
