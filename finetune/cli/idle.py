"""Options of ``legend run`` that would do nothing beside the others that were given."""

from pathlib import Path

import click

from finetune.options import RunOptions

__all__ = ["refuse_idle"]

FLOWER = ("superlink", "tls", "node_keys", "wait_s", "deadline_slack")


def refuse_idle(options: RunOptions, engine: str, test_data: Path | None) -> None:
    """Refuse what was given and has no effect.

    Parameters
    ----------
    options : RunOptions
    engine : str
    test_data : Path or None

    Raises
    ------
    click.UsageError
        Names the first of them and what it is for.
    """
    idle: list[tuple[str, str]] = []
    if engine != "flower":
        idle += [(name, "it is for --engine flower") for name in FLOWER]
    else:
        idle.append(("workers", "devices on Flower train in processes of their own"))
        idle.append(("cache_disk_mb", "devices on Flower keep states in memory alone"))
    if options.workers > 1:
        idle.append(("cache_disk_mb", "with --workers states are kept in memory, for a round"))
    if options.partition != "dirichlet":
        idle.append(("alpha", "it is for --partition dirichlet"))
    if options.server_optimizer == "fedavg":
        idle.append(("server_momentum", "it is for a --server-optimizer with memory"))
    if test_data is not None:
        idle.append(("test_fraction", "--test-data are all that is tested on"))
    ctx = click.get_current_context()
    for name, why in idle:
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            flag = next(p.opts[0] for p in ctx.command.params if p.name == name)
            raise click.UsageError(f"{flag} does nothing here: {why}; leave one out")
