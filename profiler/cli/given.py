"""Options that a person gave, and those of them that would do nothing."""

from collections.abc import Collection

import click
from click.core import ParameterSource

__all__ = ["refuse_given"]


def refuse_given(ctx: click.Context, names: Collection[str], why: str) -> None:
    """Refuse options that were given where they have no effect.

    Parameters
    ----------
    ctx : click.Context
        Of the command.
    names : collection of str
        Names of the parameters that would do nothing.
    why : str
        What is done instead.

    Raises
    ------
    click.UsageError
        Names the first of them, in the order of the command's help.
    """
    for param in ctx.command.params:
        name = param.name or ""
        if name in names and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{param.opts[0]} does nothing here: {why}; leave it out")
