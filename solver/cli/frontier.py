"""Command `frontier`: the largest utility for every round time."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from solver.cli.options import (
    CHANGES,
    FLEET,
    JSON,
    LEAVE_OUT,
    STRUCTURE,
    budgets,
    naming,
    problem_fields,
)
from solver.cli.terminal import console, watched

if TYPE_CHECKING:
    from rich.table import Table

    from solver.frontier import Point
    from solver.problem import Problem


@click.command()
@FLEET
@budgets
@STRUCTURE
@LEAVE_OUT
@CHANGES
@click.option(
    "--points",
    type=click.IntRange(2, 10_000),
    default=20,
    help="Round times to plan for.  [20]",
)
@click.option("--all", "whole", is_flag=True, help="Every step of the curve instead of some.")
@click.option(
    "--picture", type=click.Path(path_type=Path), help="Draw it here too, .svg or .png."
)
@JSON
def frontier(
    fleet_path: Path,
    points: int,
    whole: bool,
    picture: Path | None,
    changes: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    r"""Show the largest utility for every round time: the Pareto curve.

    \b
    legend frontier fleet.json --points 100 --json
    legend frontier fleet.json --all --ranks 4,8,16 --picture frontier.svg
    legend frontier fleet.json --leave-out unable
    """
    from profiler.schema import InputError, read_fleet
    from solver.problem import Problem
    from solver.whatif import changed

    said = click.get_current_context().get_parameter_source("points")
    if whole and said is click.core.ParameterSource.COMMANDLINE:
        raise InputError("--all is every step, --points is some of them; give one of both")

    fleet = changed(read_fleet(fleet_path), changes)
    with naming(fleet_path):
        problem = Problem.of(fleet, **problem_fields(options))
    if picture is not None:
        from solver.show.frontier import check_picture, draw

        check_picture(picture)
    found = _whole_curve(problem) if whole else _some_points(problem, points)
    if picture is not None:
        draw(found, picture)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    console().print(_table(found, leaving_out=options["leave_out"] != "nobody"))


def _table(points: "list[Point]", *, leaving_out: bool) -> "Table":
    from rich import box
    from rich.table import Table

    from solver.show.figures import plain

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    names = ["round time s", "utility", "gap", "mean depth", "mean wait s"]
    for name in [*names, "left out"] if leaving_out else names:
        table.add_column(name, justify="right")
    for p in points:
        cells = (
            plain(p.round_time_s, 4),
            f"{p.utility:.5f}",
            f"{p.gap_fraction:.3%}",
            f"{p.mean_depth:.2f}",
            plain(p.mean_wait_s),
            str(p.left_out),
        )
        table.add_row(*cells[: len(table.columns)])
    return table


def _some_points(problem: "Problem", points: int) -> "list[Point]":
    from solver.frontier import frontier_points

    return frontier_points(problem, points, lambda times: watched(times, "round times"))


def _whole_curve(problem: "Problem") -> "list[Point]":
    """Every step, shortest round first, with progress on stderr."""
    from solver.frontier import every_step, undominated

    return undominated(list(watched(every_step(problem), "steps of the curve"))[::-1])
