"""Ask the solver for a plan, through files: a fleet goes in, a plan comes out."""

import subprocess
from pathlib import Path
from typing import NamedTuple

from finetune.child import environment, module_command
from profiler.schema import Fleet, write
from solver.plan import InputError, Plan, read_plan

__all__ = ["Answered", "ask", "plan_path"]

INFEASIBLE, STOPPED = 3, 4


class Answered(NamedTuple):
    """The solver's plan, or why there is none."""

    plan: Plan | None
    reason: str = ""


def plan_path(out: Path, number: int) -> Path:
    """File of a run's n-th plan; the one it began with is 0 and stays where it was."""
    return out / f"plan-{number:04d}.json"


def ask(fleet: Fleet, like: Path, out: Path, number: int) -> Answered:
    """Write ``fleet-N.json``, have ``legend solve`` write ``plan-N.json``, and read it.

    Parameters
    ----------
    fleet : Fleet
        As believed.
    like : Path
        Plan whose question is asked again.
    out : Path
        Folder of the run.
    number : int
        Number of the new plan.

    Returns
    -------
    Answered
        Without a plan where the solver found none (exit codes 3 and 4).

    Raises
    ------
    InputError
        If the solver refuses the question, or fails.
    """
    believed, target = out / f"fleet-{number:04d}.json", plan_path(out, number)
    write(believed, fleet)
    words = ["solve", str(believed), "--like", str(like), "-o", str(target)]
    done = subprocess.run(
        module_command("legend", *words),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    last = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
    reason = last.removeprefix("legend: ")
    if done.returncode in (INFEASIBLE, STOPPED):
        return Answered(None, reason)
    if done.returncode:
        raise InputError(f"re-planning from {believed} failed: {reason}")
    return Answered(read_plan(target))
