"""The whole way in three minutes: profile, fleet, plan, verify, fine-tune, report.

Every step is a command that a person could type, printed before it runs, and the steps meet
in files alone, as they would across machines.
"""

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import click

from benchmarks.fetch import fetch_model, fetch_reviews
from finetune.child import environment, module_command

STOPPED = 130
STEP_ENDS_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What the demonstration runs on.

    Parameters
    ----------
    folder : Path
        Where everything is written; must not hold an earlier demonstration.
    model, data : Path or None
        Local model folder and CSV; None fetches the 6-layer BERT and the movie reviews.
    rounds, sample, local_steps : int
        Federated rounds, devices a round, training steps of a device a round.
    seed : int
    """

    folder: Path
    model: Path | None
    data: Path | None
    rounds: int
    sample: int
    local_steps: int
    seed: int


class StepFailed(Exception):
    """A step of the demonstration failed; the step has said why."""

    def __init__(self, step: str, code: int) -> None:
        super().__init__(f"demo stopped: 'legend {step}' ended with exit code {code}")
        self.exit_code = code


def run_demo(demo: Demo, say: Callable[[str], None], *, quiet: bool) -> None:
    """Run every step, on stderr alone if `quiet`; raises `StepFailed` where one fails."""
    began = time.monotonic()
    # Threads that wait for work sleep: on a shared machine spinning ones steal from the others.
    patient = {"OMP_WAIT_POLICY": "passive", **environment()}
    model = demo.model or fetch_model()
    data = demo.data or fetch_reviews()
    for title, command in steps(demo, model, data):
        say(f"\n{title}\n$ legend {shlex.join(command)}")
        out = sys.stderr if quiet else None
        words = module_command("legend", *command)
        code = run_step(words, patient, out)
        if code == STOPPED:
            raise click.exceptions.Exit(code)  # the step has said so
        if code != 0:
            raise StepFailed(command[0], code)
    say(f"\nDone in {time.monotonic() - began:.0f} s. Look at {demo.folder / 'report.html'}")


def run_step(words: list[str], environment: dict[str, str], out: TextIO | None) -> int:
    """Exit code of a step; Ctrl-C is the step's, which may have something to keep."""
    with subprocess.Popen(words, env=environment, stdout=out) as step:
        try:
            return step.wait()
        except KeyboardInterrupt:
            with suppress(subprocess.TimeoutExpired):
                return step.wait(STEP_ENDS_S)
            # A terminal tells everybody; a signal sent here alone has to be passed on.
            step.send_signal(signal.SIGINT)
            return step.wait()


def steps(demo: Demo, model: Path, data: Path) -> list[tuple[str, list[str]]]:
    """Titles and commands, in order."""
    at = {
        name: str(demo.folder / name)
        for name in (
            "profile.json", "fleet.json", "plan.json", "fedlora.json",
            "legend", "fedlora", "report.html",
        )
    }  # fmt: skip
    seed = ["--seed", str(demo.seed)]
    shape = ["--batch-size", "8", "--sequence-length", "64"]
    fleet = ["fleet", "paper-80", "--profile", at["profile.json"], *seed]
    fine_tune = ["--model", str(model), "--data", str(data), *seed]
    fine_tune += ["--rounds", str(demo.rounds), "--sample", str(demo.sample)]
    fine_tune += ["--alpha", "10", "--eval-every", "2", "--max-test", "400"]
    return [
        (
            "Measure the model on this machine",
            ["profile", str(model), *shape, "--quick", *seed, "-o", at["profile.json"]],
        ),
        (
            "Describe 80 Jetsons that would train it, by their catalogue speeds",
            [*fleet, "--local-steps", str(demo.local_steps), "-o", at["fleet.json"]],
        ),
        (
            "Plan: most utility per second, at least 90 % of all layers at rank 16 everywhere",
            ["solve", at["fleet.json"], "--objective", "efficiency", "--min-utility",
             "0.9", "--ranks", "4,8,12,16", "-o", at["plan.json"]],
        ),
        ("Check the plan independently", ["verify", at["plan.json"], at["fleet.json"]]),
        (
            "Plan uniform FedLoRA for comparison: all layers at rank 8, wait for the slowest",
            ["solve", at["fleet.json"], "--policy", "fedlora-straggler",
             "-o", at["fedlora.json"]],
        ),
        (
            "Fine-tune under the plan",
            ["run", at["plan.json"], *fine_tune, "-o", at["legend"]],
        ),
        (
            "Fine-tune under uniform FedLoRA, same data, seed and clock",
            ["run", at["fedlora.json"], *fine_tune, "-o", at["fedlora"]],
        ),
        (
            "Put it on one page",
            ["report", at["plan.json"], at["legend"], at["fedlora"], "--label", "plan",
             "--label", "FedLoRA", "--fleet", at["fleet.json"], "-o", at["report.html"]],
        ),
    ]  # fmt: skip


def main(demo: Demo, *, as_json: bool) -> None:
    """Run the demonstration into an empty folder; titles go to stderr."""
    from profiler.schema import InputError

    check_demo(demo)
    try:
        demo.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{demo.folder}: cannot be made ({error.strerror})") from None
    run_demo(demo, lambda text: click.secho(text, bold=True, err=True), quiet=as_json)
    if as_json:
        files = sorted(str(path) for path in demo.folder.iterdir())
        click.echo(json.dumps({"folder": str(demo.folder), "files": files}))


def check_demo(demo: Demo) -> None:
    """Refuse what a step would refuse minutes later; raises `InputError`."""
    from profiler.labelled import class_names, read_columns
    from profiler.schema import InputError

    if demo.folder.exists() and not demo.folder.is_dir():
        raise InputError(f"{demo.folder}: is a file; expected a folder to write with -o")
    if demo.folder.exists() and any(demo.folder.iterdir()):
        raise InputError(
            f"{demo.folder}: not empty; choose another folder with -o or remove it"
        )
    if demo.model is not None and not (demo.model / "config.json").is_file():
        raise InputError(f"{demo.model}: holds no config.json; expected a model's folder")
    if demo.data is not None:
        # The model is profiled for two classes.
        class_names([read_columns(demo.data, ["text", "label"])["label"]], 2)
