"""What errors call an option: a flag to who types commands, an argument to who calls functions.

Messages are written with flags. `spoken` goes round what is offered to Python and puts the
argument's name in place of each, unless a command is running.
"""

import re
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from profiler.schema import InputError
from solver.errors import Infeasible, Stopped

__all__ = ["spoken"]

P = ParamSpec("P")
R = TypeVar("R")

# What a command is quoted to be called with stays as it is.
_FLAG = re.compile(r"'legend [^']*'|legend \w+ .*|--set '|--([a-z]+(?:-[a-z]+)*)")
# Arguments that are not called as their flags.
_OTHERS = {
    "round-time": "round_time_s",
    "mean-wait": "mean_wait_s",
    "upload-mb": "upload_bytes",
    "download-mb": "download_bytes",
    "time-limit": "time_limit_s",
}


def spoken(function: Callable[P, R]) -> Callable[P, R]:
    """A function whose errors name arguments where no command is running."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (Infeasible, InputError, Stopped) as error:
            # Only here, as planning needs no command line.
            import click

            if click.get_current_context(silent=True) is None:
                _reword(error)
            raise

    return call


def _reword(error: Exception) -> None:
    if isinstance(error, Infeasible):
        error.reason, error.repair = _said(error.reason), _said(error.repair)
    else:
        error.args = tuple(_said(str(arg)) for arg in error.args)


def _said(message: str) -> str:
    return _FLAG.sub(_argument, message)


def _argument(match: re.Match[str]) -> str:
    flag = match[1]
    if flag is None:
        return "change '" if match[0].startswith("--") else match[0]
    return _OTHERS.get(flag, flag.replace("-", "_"))
