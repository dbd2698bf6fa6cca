"""Whether a plan of more predicted utility a second really learns sooner."""

import math

from benchmarks.learning.arms import FLOOR, Arm
from benchmarks.learning.command import legend
from benchmarks.learning.curves import WINDOW, Curve
from benchmarks.learning.runs import Length, Trial, plan_of, play_all
from benchmarks.learning.setting import Setting, prepare
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, Series, figure
from profiler.schema import Gain, read_fleet, read_profile
from solver import Plan, read_plan

LENGTH = Length(rounds=15, sample=6, eval_every=1, max_test=500)
QUICK = Length(rounds=12, sample=4, eval_every=3, max_test=300)
ALPHA, RATE, TARGET, QUICK_TARGET = 10.0, 4e-3, 0.70, 0.55
DEPTHS, RANKS = (1, 2, 3, 4, 5, 6), (2, 8, 32)
FLOORS = (0.6, 0.75, FLOOR, 1.05)
MEASURED = ("gradient-energy", "fisher")
GOAL = 0.9

PROTOCOL = f"""
Fleet, model and texts of time-to-accuracy, but devices stay as they are. Plans: every device at
depth {", ".join(map(str, DEPTHS))} with rank {", ".join(map(str, RANKS))} on each layer (18
plans), and our plans of most utility a second with utility {FLOORS} or more, shared ranks and
ranks of their own (8). Each is run: {LENGTH.rounds} rounds of {LENGTH.sample} devices, alpha
{ALPHA:g}, rate {RATE:g} (quick: {QUICK.rounds} of {QUICK.sample}, half of the plans).
Predicted: utility of the plan's depths and ranks by each gain table over its predicted round
time. Measured: virtual time to {TARGET:.0%} (quick {QUICK_TARGET:.0%}) accuracy, averaged over
{WINDOW} evaluations; plans that do not reach it share the last rank. The figure is Spearman's
correlation of predicted utility a second with measured speed, one value a seed. Gain tables
are measured on the training texts with the default effort of `legend profile --gain`.
"""


def measure(job: Job) -> list[Figure]:
    """Run every plan at every seed and rank them both ways."""
    from scipy.stats import spearmanr

    length, target = (QUICK, QUICK_TARGET) if job.quick else (LENGTH, TARGET)
    arms = _arms()[:: 2 if job.quick else 1]
    found: dict[str, list[float]] = {}
    reached = []
    for seed in range(job.seeds):
        setting = prepare(seed)
        trials = [
            Trial(
                arm=arm,
                setting=setting,
                length=length,
                alpha=ALPHA,
                learning_rate=RATE,
                traced=False,
            )
            for arm in arms
        ]
        curves = play_all(trials, job.say)
        plans = [read_plan(plan_of(trial)) for trial in trials]
        speeds = [_speed(curve, target) for curve in curves]
        reached.append(float(sum(speed > 0 for speed in speeds)))
        for method, gain in _gains(setting).items():
            predicted = [utility(plan, gain) / plan.predicted.round_time_s for plan in plans]
            correlation = spearmanr(predicted, speeds).statistic
            found.setdefault(method, []).append(float(correlation))
            columns = {"predicted_utility_per_s": predicted, "speed_per_s": speeds}
            job.series.append(Series(name=method, seed=seed, columns=columns))
    label = f"{len(arms)} plans"
    return [
        *(
            figure(
                "Spearman, predicted and real", values, "1",
                setting=f"{method}, {label}", better="high", target=GOAL,
            )
            for method, values in found.items()
        ),
        figure("plans that reach the target", reached, "plans", setting=label, better="high"),
    ]  # fmt: skip


def _arms() -> list[Arm]:
    even = [
        Arm(
            name=f"depth-{depth}-rank-{rank}",
            policy="exact",
            question={"min_depth": depth, "max_depth": depth, "ranks": (rank,)},
        )
        for depth in DEPTHS
        for rank in RANKS
    ]
    ours = [
        Arm(
            name=f"{structure}-floor-{floor:g}",
            policy="exact",
            question={"objective": "efficiency", "min_utility": floor, "structure": structure},
        )
        for structure in ("shared", "own")
        for floor in FLOORS
    ]
    return [*even, *ours]


def _speed(curve: Curve, target: float) -> float:
    """One over the seconds to the target; 0 where it is not reached."""
    return 1 / curve.at(target).time_s if curve.reaches(target) else 0.0


def _gains(setting: Setting) -> dict[str, Gain]:
    """Gain tables by method."""
    gains = {"default": read_fleet(setting.fleet).gain}
    for method in MEASURED:
        path = setting.folder / f"{method}.profile.json"
        if not path.exists():
            legend(
                "profile", setting.model, "--derive", "--hardware", "jetson-tx2",
                "--gain", method, "--data", setting.train, "--seed", setting.seed, "-o", path,
            )  # fmt: skip
        gains[method] = read_profile(path).gain
    return gains


def utility(plan: Plan, gain: Gain) -> float:
    """Utility of a plan's depths and ranks by another gain table, weighted by examples."""
    weights = [device.examples * device.count for device in plan.devices]
    values = []
    for device in plan.devices:
        shape = plan.configuration_of(device)
        ranks = shape.ranks if shape else []
        values.append(math.fsum(_gain(gain, layer, rank) for layer, rank in enumerate(ranks)))
    total = math.fsum(w * v for w, v in zip(weights, values, strict=True))
    return total / math.fsum(weights)


def _gain(gain: Gain, layer: int, rank: int) -> float:
    import numpy as np

    return float(np.interp(rank, [0, *gain.ranks], [0.0, *gain.by_layer[layer]]))


CASE = Case(
    name="utility-truth",
    summary="Does a plan of more predicted utility a second really learn sooner?",
    protocol=PROTOCOL,
    seeds=3,
    quick_seeds=1,
    measure=measure,
)
