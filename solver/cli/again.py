"""What ``legend solve --like PLAN`` takes from a plan: its question, and what to stay with."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from profiler.schema import Fleet
    from solver.plan import Plan
    from solver.problem import Problem

__all__ = ["again", "earlier"]

# What `solve` may be told beside --like: how to solve and what to print, not what is asked.
BESIDE_LIKE = {
    "fleet_path", "output", "as_json", "seed", "changes", "want_prices", "want_next", "like",
    "program",
    "method", "backend", "time_limit_s", "keep_within",
}  # fmt: skip


def earlier(fleet: "Fleet", like: Path | None, within: float | None) -> "Plan | None":
    """The plan to stay with, if that is asked for; what it may lose `solve` looks at."""
    from solver.keep import check_same_model
    from solver.plan import InputError, read_plan

    if within is None:
        return None
    if like is None:
        raise InputError("--keep-within stays with an earlier plan; say which: --like PLAN")
    keep = read_plan(like)
    try:
        check_same_model(keep, fleet)
    except InputError as error:
        raise InputError(f"{like}: {error}") from None
    return keep


def again(fleet: "Fleet", like: Path) -> "Problem":
    """Pose the question of a plan for another fleet, or the same one as it is now."""
    from solver.again import pose_again
    from solver.errors import FleetError
    from solver.plan import InputError, read_plan

    ctx = click.get_current_context()
    for name in sorted(ctx.params.keys() - BESIDE_LIKE):
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            flag = next(p.opts[0] for p in ctx.command.params if p.name == name)
            raise InputError(f"{flag} and --like both say what is asked; give one of them")
    question = read_plan(like).question
    try:
        return pose_again(fleet, question)
    except FleetError:
        raise
    except InputError as error:
        raise InputError(f"{like}: {error}") from None
