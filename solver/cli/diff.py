"""Command `diff`: what changed from one plan to another."""

from pathlib import Path

import click
import msgspec

from solver.cli.options import JSON
from solver.cli.terminal import console


@click.command()
@click.argument("then_path", metavar="THEN", type=click.Path(path_type=Path))
@click.argument("now_path", metavar="NOW", type=click.Path(path_type=Path))
@JSON
def diff(then_path: Path, now_path: Path, as_json: bool) -> None:
    r"""Show what changed from plan THEN to plan NOW of the same model.

    What a round is predicted to cost, what was asked otherwise, the server's ranks, and for
    each class how many devices came, went, adapt more layers or fewer, or stay as they were.
    Devices are told apart by their names; --json lists each that changed. It is no judgement:
    the two fleets may differ, and utilities compare where both have the same gains.

    \b
    legend diff last-week.json this-week.json
    legend solve fleet.json --like last-week.json -o this-week.json
    """
    from solver.diff import plan_diff
    from solver.plan import read_plan

    found = plan_diff(read_plan(then_path), read_plan(now_path))
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    from solver.show.diff import diff_view

    shown = console()
    shown.print(diff_view(found, shown.width))
