"""Command `compare`: every policy on the same fleet, side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from solver.cli.options import (
    CHANGES,
    FILL_WAIT,
    FLEET,
    JSON,
    LEAVE_OUT,
    STRUCTURES,
    budgets,
    naming,
    problem_fields,
)
from solver.cli.terminal import console, watched
from solver.policies import POLICIES

if TYPE_CHECKING:
    from solver.compare import Row


@click.command()
@FLEET
@budgets
@click.option(
    "--policy",
    "chosen",
    multiple=True,
    type=click.Choice(list(POLICIES)),
    metavar="NAME",
    help="Only this one, or several; see 'legend solve --help'.",
)
@click.option(
    "--structure",
    "structures",
    multiple=True,
    type=click.Choice(STRUCTURES),
    help="Of policy exact only this one, or several.  [all three]",
)
@FILL_WAIT
@LEAVE_OUT
@CHANGES
@click.option(
    "--plan",
    "plans",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A plan of this fleet to show beside them, such as of 'legend plan-from-peft'.",
)
@JSON
@click.pass_context
def compare(
    ctx: click.Context,
    /,
    fleet_path: Path,
    chosen: tuple[str, ...],
    structures: tuple[str, ...],
    changes: tuple[str, ...],
    plans: tuple[Path, ...],
    as_json: bool,
    **options: Any,
) -> None:
    r"""Plan FLEET with every policy and show the plans side by side.

    The gap is to the best plan of any structure: ranks of its own for every device. Whom to
    leave out is a question to policy exact; the others decide it themselves. A policy that has
    no plan says why below the table, and so does one that heeds fewer budgets. Exit code 3 if
    no policy has a plan.

    \b
    legend compare fleet.json --round-time 30
    legend compare fleet.json --policy exact --plan mine.json
    legend compare fleet.json --round-time 30 --set class=phone,uplink_mbit_per_s=2
    """
    from profiler.schema import read_fleet
    from solver.compare import compare_plans, compare_policies
    from solver.whatif import changed

    if chosen and "exact" not in chosen:
        _refuse_for_exact()
    fleet, fields = changed(read_fleet(fleet_path), changes), problem_fields(options)
    policies = watched(dict.fromkeys(chosen or POLICIES), "policies")
    with naming(fleet_path):
        rows = compare_policies(
            fleet, policies, fields, tuple(dict.fromkeys(structures or STRUCTURES))
        )
        rows += compare_plans(fleet, plans, fields)
    _show(rows, as_json=as_json)
    if all(row.plan is None for row in rows):
        # Where one was stopped, it might have found a plan.
        code = max(row.exit_code for row in rows)
        click.echo(
            f"legend: no policy has a plan; {rows[0].policy}: {rows[0].reason}", err=True
        )
        ctx.exit(code)


def _show(rows: "list[Row]", *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode([_comparison_record(row) for row in rows]))
        return
    from solver.show.comparison import comparison_view

    shown = console()
    shown.print(comparison_view(rows, shown.width))


def _refuse_for_exact() -> None:
    """Refuse what asks something of policy exact alone, where that is not compared."""
    ctx = click.get_current_context()
    for name, flag in (("structures", "--structure"), ("leave_out", "--leave-out")):
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"{flag} does nothing here: it is for policy exact, which is not compared; add "
                "--policy exact, or leave it out"
            )


def _comparison_record(row: "Row") -> dict[str, object]:
    plan = row.plan
    return {
        "policy": row.policy,
        "gap_fraction": row.gap_fraction,
        "reason": row.reason,
        "memory_bytes": row.memory_bytes,
        "left_out": row.left_out,
        "predicted": None if plan is None else plan.predicted,
        "question": None if plan is None else plan.question,
    }
