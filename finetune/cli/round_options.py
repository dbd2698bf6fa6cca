"""Options about the rounds of a plan that `legend run` and `legend rehearse` share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = ["changing"]

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--trace",
        type=click.Path(path_type=Path),
        help="How the fleet's devices change, by round or second; begins again at its end.",
    ),
    click.option(
        "--deadline",
        "deadline_s",
        type=float,
        metavar="S",
        help="Longest round; who needs longer is left out of it.  [default: none]",
    ),
    click.option(
        "--replan-every",
        type=int,
        metavar="H",
        help="Plan anew every H rounds.  [default: never]",
    ),
    click.option(
        "--replan-on-drift",
        type=float,
        metavar="F",
        help="Plan anew once devices' times differ by this share from the plan's, on average.",
    ),
)


def changing(command: F) -> F:
    """Add what there is to say of devices that change and of who is late."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
