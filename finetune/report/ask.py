"""Ask the solver for the frontier and the comparison of a plan's own question, by command."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from finetune.child import environment, module_command
from finetune.report.answers import (
    FrontierPoint,
    Policy,
    decode_frontier,
    decode_policies,
)
from profiler.schema import Fleet
from solver.plan import InputError, Plan, Question

__all__ = ["NoAnswer", "ask_frontier", "ask_policies", "mismatch"]

POINTS = 40
MEGABYTE = 1e6
ROUNDING = 1e-9
NO_ANSWER = (3, 4)
"""Exit codes of a question that was understood: infeasible, or stopped early."""


class NoAnswer(Exception):
    """The solver found nothing; the message is its own last line."""


def ask_frontier(plan: Plan, fleet: Path) -> list[FrontierPoint]:
    """Best utility at other round times, all else as the plan's question; see `_ask`."""
    asked = plan.question
    options = [*_options(asked, round_time=False), "--points", str(POINTS)]
    if asked.policy == "exact":
        # That of another policy is what it made of its answer, not what it was asked.
        options += ["--structure", asked.structure]
    return decode_frontier(_ask("frontier", fleet, options), "legend frontier")


def ask_policies(plan: Plan, fleet: Path) -> list[Policy]:
    """Every policy under the plan's budgets, or its round if it had none; see `_ask`."""
    options = _options(plan.question, round_time=True)
    if plan.question.budgets.round_time_s is None:
        options += ["--round-time", str(plan.predicted.round_time_s * (1 + ROUNDING))]
    if plan.question.fill_wait > 1:
        options += ["--fill-wait", str(plan.question.fill_wait)]
    return decode_policies(_ask("compare", fleet, options), "legend compare")


def mismatch(plan: Plan, fleet: Fleet, fleet_sha256: str) -> str:
    """Say why the fleet's curves may not fit the plan; '' if they do."""
    if plan.provenance.same_what_if(fleet.provenance):
        return ""
    if all(file.sha256 != fleet_sha256 for file in plan.provenance.inputs):
        return "The fleet file is not the very one that the plan was made from."
    if changes := plan.provenance.options.get("set"):
        return (
            f"The plan answers a what-if ({changes}); these curves are of the fleet as it is. "
            "'legend fleet --fleet FLEET --set CHANGE' writes the one that it is of."
        )
    return ""


def _ask(command: str, fleet: Path, options: Sequence[str]) -> bytes:
    """Run a command of `legend` in a process of its own and return its JSON.

    Raises
    ------
    NoAnswer
        If the question has no answer, as that of a policy which leaves devices out may.
    InputError
        With the command's own last line, if it fails.
    """
    done = subprocess.run(
        module_command("legend", command, str(fleet), "--json", *options),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        env=environment(),
    )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = (lines or ["it gave no reason"])[-1].removeprefix("legend: ")
        if done.returncode in NO_ANSWER:
            raise NoAnswer(reason)
        raise InputError(f"'legend {command}' on {fleet} failed: {reason}")
    return done.stdout


def _options(question: Question, *, round_time: bool) -> list[str]:
    """Write the options that ask a plan's question again."""
    budgets = question.budgets
    values: dict[str, object] = {
        "--round-time": budgets.round_time_s if round_time else None,
        "--mean-wait": budgets.mean_wait_s,
        "--rank-budget": budgets.rank_budget,
        "--upload-mb": _scaled(budgets.upload_bytes),
        "--download-mb": _scaled(budgets.download_bytes),
        "--energy-j": budgets.energy_j,
        "--ranks": ",".join(map(str, question.rank_choices)),
        "--min-depth": question.min_depth,
        "--weights": question.weights,
        "--max-depth": question.max_depth,
        "--cache-rounds": question.cache_rounds,
        # Said only where they differ from what every version of the command does.
        "--rank-shape": _unless(question.rank_shape, "free"),
        "--cache": _unless(question.cache, "off"),
        "--upload-codec": _unless(question.upload_codec, "none"),
        "--download-codec": _unless(question.download_codec, "none"),
        "--leave-out": _unless(question.leave_out, "nobody"),
    }
    return [w for name, v in values.items() if v is not None for w in (name, str(v))]


def _scaled(size_bytes: float | None) -> float | None:
    return None if size_bytes is None else size_bytes / MEGABYTE


def _unless(value: str, usual: str) -> str | None:
    return None if value == usual else value
