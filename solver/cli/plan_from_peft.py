"""Command `plan-from-peft`."""

from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from solver.cli.options import (
    JSON,
    LEAVE_OUT,
    NEXT_LAYER,
    budgets,
    given,
    naming,
    problem_fields,
)
from solver.cli.terminal import console

__all__ = ["plan_from_peft"]

FILE = click.Path(path_type=Path)


@click.command("plan-from-peft")
@click.argument("adapter", type=FILE)
@click.option("--fleet", "fleet_path", type=FILE, required=True, help="Who is to train it.")
@budgets
@click.option("--convert", is_flag=True, help="Take the ranks although the LoRA scale differs.")
@LEAVE_OUT
@NEXT_LAYER
@click.option("-o", "--output", type=FILE, help="Write the plan here.")
@JSON
def plan_from_peft(
    adapter: Path,
    fleet_path: Path,
    convert: bool,
    leave_out: str,
    want_next: bool,
    output: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    r"""Make a plan of a PEFT configuration, to verify and compare it as a policy.

    ADAPTER is a folder with adapter_config.json, which every device trains, or one that
    'legend export --to peft' wrote. Only JSON is read; PEFT need not be installed.

    \b
    legend plan-from-peft adapter --fleet fleet.json -o mine.json
    legend plan-from-peft adapter --fleet fleet.json --round-time 60 --next-layer
    legend verify mine.json fleet.json
    legend compare fleet.json --plan mine.json
    """
    from profiler.schema import check_writable, read_fleet, write
    from solver.imported import plan_import, read_import
    from solver.planner import solve
    from solver.problem import Problem

    if output is not None:
        check_writable(output, fleet_path)
    fleet = read_fleet(fleet_path)
    found = read_import(adapter, fleet, convert=convert)
    fields = problem_fields(options)
    fields["ranks"] = {*fields["ranks"], *(r for s in found.ranks if s for r in s if r)}
    with naming(fleet_path):
        problem = Problem.of(fleet, policy="import", **fields)
    plan = solve(
        problem,
        using=partial(plan_import, given=found, leave_out=leave_out == "unable"),
        options=given(options | {"convert": convert, "leave_out": leave_out}),
        inputs=(fleet_path,),
    )
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    if output is not None:
        write(output, plan)
        click.echo(f"wrote {output}", err=True)
    from solver.cli.beside import lacking, views

    beside = lacking(plan, fleet) if want_next else {}
    if as_json:
        click.echo(msgspec.json.encode({"plan": plan, **beside} if beside else plan))
        return
    from solver.show.plans import plan_view

    shown = console()
    shown.print(plan_view(plan, shown.width))
    for each in views(beside, plan):
        shown.print(each)
