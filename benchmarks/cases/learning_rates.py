"""The learning rate of each policy, chosen on validation texts."""

import itertools
from collections.abc import Collection

from benchmarks.learning.arms import ARMS, QUICK_ARMS
from benchmarks.learning.runs import Length, Trial, play_all
from benchmarks.learning.setting import prepare
from benchmarks.registry import Case, Job, result_path
from benchmarks.result import Figure, figure, read_result

EVAL_EVERY_S = 3.0
# Nearly as long as time-to-accuracy: a rate that learns fastest at first need not carry far.
LIMIT_S = 45.0
LENGTH = Length(rounds=20, sample=6, max_test=500, eval_every_s=EVAL_EVERY_S, least_s=LIMIT_S)
QUICK = Length(rounds=12, sample=6, max_test=500, eval_every=3)
# Needs no horizon, which a comparison of times to an accuracy does not have.
SCHEDULE = "inverse-sqrt"
ALPHA, SKEWED = 10.0, 1.0
RATES = 2e-3, 4e-3, 8e-3
# Where labels differ much, devices that learn their shares of them first end at chance.
ADJUSTMENT = {ALPHA: 0.0, SKEWED: 1.0}
# Which case chooses the rates at each spread of the labels.
CHOSEN_BY = {ALPHA: "learning-rates", SKEWED: "learning-rates-skewed"}
# Where that has not been run.
RATE = 2e-3
# Seeds of their own, so that no run of the comparison is tuned on.
FIRST_SEED = 1000

PROTOCOL = f"""
The arms of time-to-accuracy and of time-to-accuracy-more with labels spread by a Dirichlet of
{ALPHA:g}, at rates {", ".join(f"{rate:g}" for rate in RATES)}, falling as there (`legend run
--schedule {SCHEDULE}`): {LENGTH.sample} devices a round, {LENGTH.rounds} rounds or more until
{LIMIT_S:g} virtual seconds have passed, on fleets of seeds from {FIRST_SEED} up, scored on
{LENGTH.max_test} validation texts every {EVAL_EVERY_S:g} virtual seconds (quick: {QUICK.rounds}
rounds). The figure is the mean accuracy over the first {LIMIT_S:g} seconds, high where it rises
early and ends high; the comparisons take the rate of the highest median.
"""


def measure(job: Job) -> list[Figure]:
    """Run every arm at every rate and seed."""
    return score_rates(job, QUICK_ARMS if job.quick else [arm.name for arm in ARMS], ALPHA)


def score_rates(job: Job, names: Collection[str], alpha: float) -> list[Figure]:
    """Run the arms named at every rate and seed, with labels spread by `alpha`."""
    wanted = [(arm, rate) for arm in ARMS if arm.name in names for rate in RATES]
    trials = [
        Trial(
            arm=arm,
            setting=prepare(FIRST_SEED + seed),
            length=QUICK if job.quick else LENGTH,
            alpha=alpha,
            learning_rate=rate,
            schedule=SCHEDULE,
            logit_adjustment=ADJUSTMENT[alpha],
            on_validation=True,
        )
        for arm, rate in wanted
        for seed in range(job.seeds)
    ]
    scores = iter(play_all(trials, job.say))
    return [
        figure(
            f"mean validation accuracy, rate {rate:g}",
            [
                100 * curve.mean_accuracy(LIMIT_S)
                for curve in itertools.islice(scores, job.seeds)
            ],
            "%",
            setting=f"{arm.name}, alpha {alpha:g}",
            better="high",
        )
        for arm, rate in wanted
    ]


def chosen_rates(alpha: float) -> dict[str, float]:
    """Best rate of each arm by the saved full result; empty where there is none."""
    path = result_path(CHOSEN_BY[alpha], quick=False)
    if not path.exists():
        return {}
    best: dict[str, tuple[float, float]] = {}
    for found in read_result(path).figures:
        name = found.setting.partition(", alpha ")[0]
        rate = float(found.name.rsplit(" ", 1)[1])
        if name not in best or found.median > best[name][0]:
            best[name] = found.median, rate
    return {name: rate for name, (_, rate) in best.items()}


CASE = Case(
    name=CHOSEN_BY[ALPHA],
    summary="Which learning rate suits each policy, by validation texts?",
    protocol=PROTOCOL,
    seeds=1,
    quick_seeds=1,
    measure=measure,
)
