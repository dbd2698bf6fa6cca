"""The learning rate of each policy, chosen on validation texts."""

from benchmarks.learning.arms import ARMS, CORE_ARMS, QUICK_ARMS
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
ALPHA = 10.0
RATES, RATE = (2e-3, 4e-3), 2e-3
# Seeds of their own, so that no run of the comparison is tuned on.
FIRST_SEED = 1000

PROTOCOL = f"""
The arms of time-to-accuracy at rates {", ".join(f"{rate:g}" for rate in RATES)}, falling as
there (`legend run --schedule {SCHEDULE}`): {LENGTH.sample} devices a round, {LENGTH.rounds}
rounds or more until {LIMIT_S:g} virtual seconds have passed, alpha {ALPHA:g}, on fleets of
seeds from {FIRST_SEED} up, scored on {LENGTH.max_test} validation texts every
{EVAL_EVERY_S:g} virtual seconds (quick: {QUICK.rounds} rounds). The figure is the mean accuracy
over the first {LIMIT_S:g} seconds, high where it rises early and ends high; time-to-accuracy
takes the rate of the highest median.
"""


def measure(job: Job) -> list[Figure]:
    """Run every arm at every rate and seed."""
    length = QUICK if job.quick else LENGTH
    arms = [arm for arm in ARMS if arm.name in (QUICK_ARMS if job.quick else CORE_ARMS)]
    settings = [prepare(FIRST_SEED + seed) for seed in range(job.seeds)]
    wanted = [(arm, rate) for arm in arms for rate in RATES]
    trials = [
        Trial(
            arm=arm,
            setting=setting,
            length=length,
            alpha=ALPHA,
            learning_rate=rate,
            schedule=SCHEDULE,
            on_validation=True,
        )
        for arm, rate in wanted
        for setting in settings
    ]
    scores = [100 * c.mean_accuracy(LIMIT_S) for c in play_all(trials, job.say)]
    count = len(settings)
    return [
        figure(
            f"mean validation accuracy, rate {rate:g}",
            scores[i * count : (i + 1) * count],
            "%",
            setting=arm.name,
            better="high",
        )
        for i, (arm, rate) in enumerate(wanted)
    ]


def chosen_rates() -> dict[str, float]:
    """Best rate of each arm by the saved full result; empty where there is none."""
    path = result_path(CASE.name, quick=False)
    if not path.exists():
        return {}
    best: dict[str, tuple[float, float]] = {}
    for found in read_result(path).figures:
        rate = float(found.name.rsplit(" ", 1)[1])
        if found.setting not in best or found.median > best[found.setting][0]:
            best[found.setting] = found.median, rate
    return {name: rate for name, (_, rate) in best.items()}


CASE = Case(
    name="learning-rates",
    summary="Which learning rate suits each policy, by validation texts?",
    protocol=PROTOCOL,
    seeds=1,
    quick_seeds=1,
    measure=measure,
)
