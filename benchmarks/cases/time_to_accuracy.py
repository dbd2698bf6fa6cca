"""Virtual time and bytes to accuracy on 80 devices: the paper's claim, and ours."""

import statistics
from collections.abc import Sequence

from benchmarks.cases.learning_rates import (
    ADJUSTMENT,
    ALPHA,
    CHOSEN_BY,
    EVAL_EVERY_S,
    RATE,
    SCHEDULE,
    SKEWED,
    chosen_rates,
)
from benchmarks.curves_file import curve_series
from benchmarks.learning.arms import (
    ARMS,
    CORE_ARMS,
    FLOOR,
    LEGEND,
    OURS,
    QUICK_ARMS,
    SHORT_ARMS,
)
from benchmarks.learning.curves import FINAL, WINDOW, Curve
from benchmarks.learning.runs import COMPUTES, REPLAN_EVERY, Length, Trial, play_all
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

# About as long as the longest rounds here take in all, for accuracies at the end favour whoever
# trains longest.
FULL = Length(rounds=30, sample=6, max_test=1000, eval_every_s=EVAL_EVERY_S, least_s=120.0)
EARLY_S = 60.0
QUICK = Length(rounds=15, sample=4, eval_every=3, max_test=300)
TARGETS, QUICK_TARGETS = (0.74, 0.77, 0.80), (0.55,)
FASTER_THAN_PEERS, FASTER_THAN_LEGEND, FEWER_BYTES, WITHIN = 2.8, 1.5, 42.3, 0.5

PROTOCOL = f"""
Fleet paper-80 with modes and bandwidths that change every round (`legend fleet paper-80
--all-modes --trace`, one fleet and trace a seed), costs of the pretrained 6-layer
all-MiniLM-L6-v2 by closed form, batch {BATCH_SIZE}, {SEQUENCE_LENGTH} tokens, {LOCAL_STEPS}
local steps. Real LoRA fine-tuning on movie reviews; {TEST_SHARE:.0%} of the texts are test,
{VALID_SHARE:.0%} validation, both fixed and never trained on. {FULL.sample} devices a round,
{FULL.rounds} rounds, or more until {FULL.least_s:g} virtual seconds have passed (quick:
{QUICK.sample}, {QUICK.rounds} rounds, {len(QUICK_ARMS)} arms), labels by Dirichlet (here alpha
{ALPHA:g}), the same data, partition, samples and virtual clock for all. Learning rates fall
with the square root of the rounds (`--schedule {SCHEDULE}`).
Runs compute in {COMPUTES}, adapters in float32; clock and bytes are those of float32.
Every policy has the round time at which it plans the most utility a second with utility
{FLOOR} or more, from a grid; ours finds that by its objective. Learning rates are those that
the case {CHOSEN_BY[ALPHA]} (at alpha {SKEWED:g} {CHOSEN_BY[SKEWED]}) chose on the validation
texts, or {RATE:g} for all where it has not been run; the notes say which. Accuracy is the mean
of {WINDOW} evaluations of {FULL.max_test} test texts, some {EVAL_EVERY_S:g} virtual seconds
apart for every policy; final accuracy the mean of the last {FINAL}, whenever a run ends; those
at {EARLY_S:g} and {FULL.least_s:g} s, which all last, are given too.
Where a run does not reach a target its whole time and bytes count, so ratios of it are lower
bounds; how many reach it is a figure of its own. Traffic is bytes both ways.
'exact-int8-replan' plans anew every {REPLAN_EVERY} rounds.
"""


def measure(job: Job) -> list[Figure]:
    """Run every arm at every seed."""
    return compare(job, QUICK_ARMS if job.quick else CORE_ARMS, ALPHA)


def compare(job: Job, names: Sequence[str], alpha: float, ours: str = OURS) -> list[Figure]:
    """Run arms at every seed, with labels spread by a Dirichlet of `alpha`."""
    length = QUICK if job.quick else FULL
    arms = [arm for arm in (*ARMS, *SHORT_ARMS) if arm.name in names]
    settings = [prepare(seed) for seed in range(job.seeds)]
    rates = chosen_rates(alpha)
    trials = [
        Trial(
            arm=arm,
            setting=setting,
            length=length,
            alpha=alpha,
            learning_rate=rates.get(arm.name, RATE),
            schedule=SCHEDULE,
            logit_adjustment=ADJUSTMENT[alpha],
        )
        for setting in settings
        for arm in arms
    ]
    curves = play_all(trials, job.say)
    by_arm = {arm.name: curves[i :: len(arms)] for i, arm in enumerate(arms)}
    job.notes.append(
        "learning rates: " + ", ".join(f"{a.name} {rates.get(a.name, RATE):g}" for a in arms)
    )
    job.series.extend(curve_series(by_arm, alpha))
    figures = _figures(by_arm, alpha, QUICK_TARGETS if job.quick else TARGETS, ours)
    return figures if job.quick else [*figures, *_at_one_time(by_arm, alpha)]


def _at_one_time(by_arm: dict[str, list[Curve]], alpha: float) -> list[Figure]:
    """Accuracies at times that every run lasts."""
    return [
        figure(
            f"accuracy at {seconds:g} s",
            [100 * c.accuracy_at(seconds) for c in curves],
            "%", setting=f"{name}, alpha {alpha:g}", better="high",
        )
        for name, curves in by_arm.items()
        for seconds in (EARLY_S, FULL.least_s)
    ]  # fmt: skip


def _figures(
    by_arm: dict[str, list[Curve]], alpha: float, targets: Sequence[float], ours: str
) -> list[Figure]:
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
                target=100 * best - WITHIN if name == ours else None,
            ),
            figure("mean round", [c.mean_round_s for c in curves], "s", setting=setting),
            figure("mean wait", [c.mean_wait_s for c in curves], "s", setting=setting),
        ]  # fmt: skip
        for target in targets:
            mine = None if name == ours else by_arm[ours]
            figures += _to_target(name, curves, mine, target, setting)
    return figures


def _to_target(
    name: str, curves: list[Curve], ours: list[Curve] | None, target: float, setting: str
) -> list[Figure]:
    """Time and bytes of an arm until a target, and how much longer that is than ours."""
    label = f"{target:.0%}"
    own = [c.at(target) for c in curves]
    figures = [
        figure(
            f"seeds that reach {label}", [float(sum(c.reaches(target) for c in curves))],
            "seeds", setting=setting, better="high",
        ),
        figure(f"time to {label}", [at.time_s for at in own], "s", setting=setting),
        figure(f"upload to {label}", [at.upload_bytes / 1e6 for at in own], "MB",
               setting=setting),
        figure(f"traffic to {label}", [at.traffic_bytes / 1e6 for at in own], "MB",
               setting=setting),
    ]  # fmt: skip
    if ours is None:
        return figures
    mine = [c.at(target) for c in ours]
    both = list(zip(own, mine, strict=True))
    # What a peer does with our filling is no baseline.
    peer = not name.startswith(("exact", "own", "capped", LEGEND)) and "-fill" not in name
    legend = name in (LEGEND, f"{LEGEND}-short")
    goal = FASTER_THAN_PEERS if peer else FASTER_THAN_LEGEND if legend else None
    return [
        *figures,
        figure(
            f"time to {label} over ours",
            [a.time_s / b.time_s for a, b in both],
            "1", setting=setting, better="high", target=goal,
        ),
        figure(
            f"upload saved by ours to {label}",
            [100 * (1 - b.upload_bytes / a.upload_bytes) for a, b in both],
            "%", setting=setting, better="high",
        ),
        figure(
            f"traffic saved by ours to {label}",
            [100 * (1 - b.traffic_bytes / a.traffic_bytes) for a, b in both],
            "%", setting=setting, better="high", target=FEWER_BYTES if goal else None,
        ),
    ]  # fmt: skip


# Beside it the result has waits, uploads, how many seeds arrive and what others send more.
FRONT = r"final accuracy|time to \d+%( over ours)?|(traffic|bytes saved by ours) to 77%"

CASE = Case(
    name="time-to-accuracy",
    summary="How much virtual time and how many bytes does each policy take to an accuracy?",
    shortfall=(
        "The targets are the paper's figures for its own task. On this easy one all "
        "policies end alike, and accuracy is looked at every 3 s, which shrinks ratios to "
        "the first level."
    ),
    front=FRONT,
    protocol=PROTOCOL,
    seeds=3,
    quick_seeds=1,
    measure=measure,
)
