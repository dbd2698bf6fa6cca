"""Virtual time and bytes to accuracy on 80 devices: the paper's claim, and ours."""

import statistics
from collections.abc import Sequence

from benchmarks.learning.arms import ARMS, FLOOR, Arm
from benchmarks.learning.curves import FINAL, WINDOW, Curve
from benchmarks.learning.runs import REPLAN_EVERY, Length, Trial, play_all
from benchmarks.learning.setting import (
    BATCH_SIZE,
    LOCAL_STEPS,
    SEQUENCE_LENGTH,
    TEST_SHARE,
    VALID_SHARE,
    prepare,
)
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure

FULL = Length(rounds=60, sample=10, eval_every=2, max_test=2000)
QUICK = Length(rounds=24, sample=6, eval_every=2, max_test=500)
TUNING = Length(rounds=12, sample=10, eval_every=2, max_test=1000)
ALPHAS, QUICK_ALPHAS = (10.0, 1.0), (10.0,)
RATES, RATE = (1e-3, 2e-3, 4e-3), 2e-3
TARGETS = (0.76, 0.78, 0.80)
# A seed of its own for choosing rates.
TUNING_SEED = 1000
OURS, LEGEND = "exact-cache-int8", "legend"
QUICK_ARMS = (OURS, LEGEND, "fedlora", "hetlora")
FASTER_THAN_PEERS, FASTER_THAN_LEGEND, FEWER_BYTES, WITHIN = 2.8, 1.5, 42.3, 0.5

PROTOCOL = f"""
Fleet paper-80 with modes and bandwidths that change every round (`legend fleet paper-80
--all-modes --trace`, one fleet and trace a seed), costs of the pretrained 6-layer
all-MiniLM-L6-v2 by closed form, batch {BATCH_SIZE}, {SEQUENCE_LENGTH} tokens, {LOCAL_STEPS}
local steps. Real LoRA fine-tuning on movie reviews; {TEST_SHARE:.0%} of the texts are test,
{VALID_SHARE:.0%} validation, both fixed and never trained on. {FULL.sample} devices a round,
{FULL.rounds} rounds (quick: {QUICK.sample}, {QUICK.rounds}, one alpha, {len(QUICK_ARMS)} arms),
the same data, partition, samples and virtual clock for all. Every policy has the round time at
which it plans the most utility a second with utility {FLOOR} or more, from a grid; ours finds
that by its objective. Learning rate of each arm: the one of {RATES} with the lowest final
validation loss over {TUNING.rounds} rounds of seed {TUNING_SEED} (quick: {RATE:g} for all).
Accuracy is the mean of {WINDOW} evaluations, {FULL.eval_every} rounds apart; final accuracy the
mean of the last {FINAL}. Where a run does not reach a target its whole time and bytes count, so
ratios of it are lower bounds; how many reach it is a figure of its own. 'exact-replan' plans
anew every {REPLAN_EVERY} rounds.
"""


def measure(job: Job) -> list[Figure]:
    """Run every arm at every seed and alpha."""
    length = QUICK if job.quick else FULL
    arms = [arm for arm in ARMS if not job.quick or arm.name in QUICK_ARMS]
    settings = [prepare(seed, length.rounds) for seed in range(job.seeds)]
    rates = {arm.name: RATE for arm in arms} if job.quick else tune(arms, job)
    figures = []
    for alpha in QUICK_ALPHAS if job.quick else ALPHAS:
        trials = [
            Trial(
                arm=arm,
                setting=setting,
                length=length,
                alpha=alpha,
                learning_rate=rates[arm.name],
            )
            for setting in settings
            for arm in arms
        ]
        curves = play_all(trials, job.say)
        by_arm = {arm.name: curves[i :: len(arms)] for i, arm in enumerate(arms)}
        figures += _figures(by_arm, alpha)
    job.notes.append("learning rates: " + ", ".join(f"{n} {r:g}" for n, r in rates.items()))
    return figures


def tune(arms: Sequence[Arm], job: Job) -> dict[str, float]:
    """Learning rate of each arm, chosen on validation texts and a seed of its own."""
    setting = prepare(TUNING_SEED, TUNING.rounds)
    trials = [
        Trial(
            arm=arm,
            setting=setting,
            length=TUNING,
            alpha=ALPHAS[0],
            learning_rate=rate,
            on_validation=True,
        )
        for arm in arms
        for rate in RATES
    ]
    losses = [curve.final_loss for curve in play_all(trials, job.say)]
    chosen = {}
    for i, arm in enumerate(arms):
        tried = losses[i * len(RATES) : (i + 1) * len(RATES)]
        chosen[arm.name] = RATES[tried.index(min(tried))]
    return chosen


def _figures(by_arm: dict[str, list[Curve]], alpha: float) -> list[Figure]:
    ours = by_arm[OURS]
    best = max(
        statistics.median(c.final_accuracy for c in curves) for curves in by_arm.values()
    )
    figures = []
    for name, curves in by_arm.items():
        setting = f"{name}, alpha {alpha:g}"
        figures += [
            figure(
                "final accuracy", [100 * c.final_accuracy for c in curves], "%",
                setting=setting, better="high",
                target=100 * best - WITHIN if name == OURS else None,
            ),
            figure("mean round", [c.mean_round_s for c in curves], "s", setting=setting),
            figure("mean wait", [c.mean_wait_s for c in curves], "s", setting=setting),
        ]  # fmt: skip
        for target in TARGETS:
            figures += _to_target(name, curves, ours, target, setting)
    return figures


def _to_target(
    name: str, curves: list[Curve], ours: list[Curve], target: float, setting: str
) -> list[Figure]:
    """Time and bytes of an arm until a target, and how much longer that is than ours."""
    label = f"{target:.0%}"
    own, mine = ([c.at(target) for c in some] for some in (curves, ours))
    figures = [
        figure(
            f"seeds that reach {label}", [float(sum(c.reaches(target) for c in curves))],
            "seeds", setting=setting, better="high",
        ),
        figure(f"time to {label}", [at[0] for at in own], "s", setting=setting),
        figure(f"upload to {label}", [at[1] / 1e6 for at in own], "MB", setting=setting),
    ]  # fmt: skip
    if name == OURS:
        return figures
    peer = not name.startswith(("exact", "own", LEGEND))
    goal = FASTER_THAN_PEERS if peer else FASTER_THAN_LEGEND if name == LEGEND else None
    return [
        *figures,
        figure(
            f"time to {label} over ours", [a[0] / b[0] for a, b in zip(own, mine, strict=True)],
            "1", setting=setting, better="high", target=goal,
        ),
        figure(
            f"bytes saved by ours to {label}",
            [100 * (1 - b[1] / a[1]) for a, b in zip(own, mine, strict=True)],
            "%", setting=setting, better="high", target=FEWER_BYTES if goal else None,
        ),
    ]  # fmt: skip


CASE = Case(
    name="time-to-accuracy",
    summary="How much virtual time and how many bytes does each policy take to an accuracy?",
    protocol=PROTOCOL,
    seeds=3,
    quick_seeds=1,
    measure=measure,
)
