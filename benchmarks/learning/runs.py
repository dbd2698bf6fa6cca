"""Runs of arms, kept by what they depend on, so that a stopped benchmark goes on."""

import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.learning.arms import Arm, write_plan
from benchmarks.learning.command import legend
from benchmarks.learning.curves import Curve, read_curve
from benchmarks.learning.setting import Setting
from benchmarks.machine import ROOT
from solver import Plan, read_plan

__all__ = ["COMPUTES", "Length", "Trial", "plan_of", "play_all"]

REPLAN_EVERY = 10
# 1.7 times as fast as float32 on a processor that has it.
COMPUTES = "bfloat16"
MOST_ROUNDS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How long runs are.

    Attributes
    ----------
    rounds, sample : int
        Rounds, and devices asked in each.
    max_test : int
        Most test texts of an evaluation.
    eval_every : int
        Rounds between evaluations.
    eval_every_s : float, optional
        Virtual seconds between evaluations, in place of `eval_every`; as many whole rounds as
        the plan says come closest, so that every policy is looked at equally often.
    least_s : float
        Virtual seconds that a run lasts at least, in more rounds than `rounds` if need be.
    """

    rounds: int
    sample: int
    max_test: int
    eval_every: int = 1
    eval_every_s: float | None = None
    least_s: float = 0.0

    def rounds_between(self, plan: Plan) -> int:
        """Rounds between evaluations of a run of this plan."""
        if self.eval_every_s is None:
            return self.eval_every
        return max(1, round(self.eval_every_s / plan.predicted.round_time_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One run that is wanted.

    Attributes
    ----------
    arm : Arm
    setting : Setting
    length : Length
    alpha : float
        Dirichlet concentration of the labels.
    learning_rate : float
    schedule : str
        How the rate falls, as `legend run --schedule` has it.
    logit_adjustment : float
        How far devices make up for the classes that they hold more of, as `legend run` has it.
    on_validation : bool
        Whether it is scored on the validation texts, to choose a learning rate.
    traced : bool
        Whether devices change from round to round.
    """

    arm: Arm
    setting: Setting
    length: Length
    alpha: float
    learning_rate: float
    schedule: str = "constant"
    logit_adjustment: float = 0.0
    on_validation: bool = False
    traced: bool = True

    @property
    def label(self) -> str:
        """Its name in messages."""
        return f"{self.arm.name}, seed {self.setting.seed}, alpha {self.alpha:g}"


def play_all(trials: Sequence[Trial], say: Callable[[str], None]) -> list[Curve]:
    """Run all trials, as many at once as there are cores; returns their curves in order."""
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(lambda trial: _play(trial, say), trials))


def plan_of(trial: Trial) -> Path:
    """Plan of a trial's arm, made if it is not there yet."""
    plan = trial.setting.folder / f"{trial.arm.name}-{_solver()}.plan.json"
    if not plan.exists():
        write_plan(trial.arm, trial.setting.fleet, plan)
    return plan


def _play(trial: Trial, say: Callable[[str], None]) -> Curve:
    setting, length, arm = trial.setting, trial.length, trial.arm
    plan = plan_of(trial)
    words: list[object] = [
        "--model", setting.model, "--data", setting.train,
        "--test-data", setting.valid if trial.on_validation else setting.test,
        "--seed", setting.seed,
        "--rounds", length.rounds, "--sample", length.sample, "--alpha", trial.alpha,
        "--learning-rate", trial.learning_rate, "--schedule", trial.schedule,
        "--eval-every", length.rounds_between(read_plan(plan)),
        "--max-test", length.max_test, "--compute-dtype", COMPUTES,
    ]  # fmt: skip
    if trial.traced:
        words += ["--fleet", setting.fleet, "--trace", setting.trace]
    if trial.logit_adjustment:
        words += ["--logit-adjustment", trial.logit_adjustment]
    if arm.replans:
        words += ["--replan-every", REPLAN_EVERY]
    digest = hashlib.sha256(plan.read_bytes() + setting.trace.read_bytes())
    digest.update(" ".join(map(str, words)).encode())
    out = setting.folder / "runs" / f"{arm.name}-{digest.hexdigest()[:12]}"
    played = ("run", plan, *words, "-o", out, "--resume")
    if not (out / "summary.json").exists():
        say(trial.label)
        out.mkdir(parents=True, exist_ok=True)
        legend(*played)
    if _lasted_s(out) < length.least_s:
        say(f"{trial.label}, longer")
        # The later of an option said twice counts.
        legend(*played, "--rounds", MOST_ROUNDS, "--time-limit-s", length.least_s)
    return read_curve(out)


def _lasted_s(run: Path) -> float:
    """Virtual seconds that a finished run lasted."""
    return float(msgspec.json.decode((run / "summary.json").read_bytes())["virtual_time_s"])


@functools.cache
def _solver() -> str:
    """Fingerprint of the planner's code, so that its plans are made anew when it changes."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "solver").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
