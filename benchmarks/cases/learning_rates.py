"""The learning rate of each policy, chosen on validation texts."""

from benchmarks.learning.arms import ARMS, SHORT_ARMS
from benchmarks.learning.runs import Length, Trial, play_all
from benchmarks.learning.setting import prepare
from benchmarks.registry import Case, Job, result_path
from benchmarks.result import Figure, figure, read_result

LENGTH = Length(rounds=12, sample=6, eval_every=3, max_test=500)
ALPHA = 10.0
RATES, RATE = (1e-3, 2e-3, 4e-3, 8e-3), 2e-3
QUICK_ARMS = 3
# Seeds of their own, so that no run of the comparison is tuned on.
FIRST_SEED = 1000

PROTOCOL = f"""
Every arm of time-to-accuracy at rates {", ".join(f"{rate:g}" for rate in RATES)}:
{LENGTH.rounds} rounds of {LENGTH.sample} devices, alpha {ALPHA:g}, on fleets of seeds from
{FIRST_SEED} up, scored on {LENGTH.max_test} validation texts. The figure is the loss, the mean
of the last evaluations; time-to-accuracy takes the rate of the lowest median.
"""


def measure(job: Job) -> list[Figure]:
    """Run every arm at every rate and seed."""
    arms = ARMS[:QUICK_ARMS] if job.quick else (*ARMS, *SHORT_ARMS)
    settings = [prepare(FIRST_SEED + seed, LENGTH.rounds) for seed in range(job.seeds)]
    wanted = [(arm, rate) for arm in arms for rate in RATES]
    trials = [
        Trial(
            arm=arm,
            setting=setting,
            length=LENGTH,
            alpha=ALPHA,
            learning_rate=rate,
            on_validation=True,
        )
        for arm, rate in wanted
        for setting in settings
    ]
    losses = [curve.final_loss for curve in play_all(trials, job.say)]
    count = len(settings)
    return [
        figure(
            f"validation loss, rate {rate:g}",
            losses[i * count : (i + 1) * count],
            "nats",
            setting=arm.name,
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
        if found.setting not in best or found.median < best[found.setting][0]:
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
