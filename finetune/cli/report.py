"""``legend report``: a plan, its alternatives and its runs as one page, and as pictures."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
import msgspec

from solver.plan import InputError, Plan, check_writable, read_bytes, read_plan, write_bytes

if TYPE_CHECKING:
    from finetune.report.pictures import Sources
    from profiler.schema import Fleet

__all__ = ["report"]

T = TypeVar("T")
FILE = click.Path(path_type=Path)


@click.command()
@click.argument("plan", type=FILE)
@click.argument("runs", nargs=-1, metavar="[RUN_DIR]...", type=FILE)
@click.option("-o", "--output", type=FILE, help="The page, such as report.html.")
@click.option("--label", "labels", multiple=True, help="Name of a run, in their order.")
@click.option(
    "--fleet",
    type=FILE,
    metavar="FLEET",
    help="Fleet that the plan is for: asks 'legend frontier' and 'legend compare' the plan's "
    "own question.",
)
@click.option(
    "--frontier",
    type=FILE,
    metavar="JSON",
    help="What 'legend frontier --json' printed, instead of asking.",
)
@click.option(
    "--compare",
    type=FILE,
    metavar="JSON",
    help="What 'legend compare --json' printed, instead of asking.",
)
@click.option(
    "--pictures",
    type=FILE,
    metavar="DIR",
    help="Also write every picture into this folder, as SVG and PNG.",
)
@click.option(
    "--picture", type=FILE, help="Also write the plan alone as a picture (.svg or .png)."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def report(
    plan: Path,
    runs: tuple[Path, ...],
    output: Path | None,
    labels: tuple[str, ...],
    fleet: Path | None,
    frontier: Path | None,
    compare: Path | None,
    pictures: Path | None,
    picture: Path | None,
    as_json: bool,
) -> None:
    r"""Show PLAN, and runs that 'legend run' wrote, on one self-contained HTML page.

    The page needs no network and no script. With --fleet it also has the Pareto frontier and
    the policies side by side; with RUN_DIRs, accuracy against time and bytes.

    \b
    legend report plan.json -o report.html
    legend report plan.json --fleet fleet.json -o report.html --pictures pictures/
    legend report plan.json run/ other/ --label LEGEND --label FedLoRA -o report.html
    """
    from finetune.report.pictures import Sources
    from finetune.report.runs import read_runs

    _check_wanted(output, pictures, picture, beside=bool(runs or fleet or frontier or compare))
    for path in filter(None, (output, picture)):
        check_writable(path, plan, fleet, frontier, compare, *_files_of(runs))
    wanted = read_plan(plan)
    sources = Sources(runs=read_runs(runs, labels))
    if output is not None or pictures is not None:
        sources = _answers(wanted, sources, fleet, frontier, compare)
    written = _write(wanted, sources, output, pictures, picture)
    if as_json:
        click.echo(msgspec.json.encode({"files": [str(p) for p in written]}).decode())
        return
    for path in written:
        click.echo(f"wrote {path}", err=True)


def _files_of(runs: tuple[Path, ...]) -> list[Path]:
    """What runs have written: no page or picture takes its place."""
    files = [path for run in runs if run.is_dir() for path in run.rglob("*")]
    return [path for path in files if path.suffix not in (".html", ".svg", ".png")]


def _check_wanted(
    output: Path | None, pictures: Path | None, picture: Path | None, *, beside: bool
) -> None:
    """Refuse a call that writes nothing, or reads what it does not show."""
    if output is None and pictures is None:
        if picture is None:
            raise InputError(
                "nothing to write; expected -o report.html, --pictures DIR or --picture "
                "plan.svg"
            )
        if beside:
            raise InputError(
                "runs, frontier and policies are shown on a page or in --pictures only; "
                "expected -o report.html as well"
            )
    if picture is not None:
        from finetune.report.drawing import check_format

        check_format(picture)


def _read_fleet(plan: Plan, path: Path) -> "Fleet":
    """Read a fleet; one of another model has curves that have nothing to do with the plan."""
    from profiler.schema import read_fleet

    fleet = read_fleet(path)
    planned = fleet.model
    if (planned.name, planned.layers) != (plan.model.name, plan.model.layers):
        raise InputError(
            f"{path}: is a fleet for {planned.name} of {planned.layers} layers, and the plan "
            f"is for {plan.model.name} of {plan.model.layers}; give the fleet it was made for"
        )
    return fleet


def _answers(
    plan: Plan,
    sources: "Sources",
    fleet: Path | None,
    frontier: Path | None,
    compare: Path | None,
) -> "Sources":
    """Add frontier and policies: from files where given, else by asking about the fleet."""
    from dataclasses import replace

    from finetune.report.answers import read_frontier, read_policies
    from finetune.report.ask import NoAnswer, ask_frontier, ask_policies, mismatch

    if frontier is not None:
        sources = replace(sources, frontier=read_frontier(frontier))
    if compare is not None:
        sources = replace(sources, policies=read_policies(compare))
    if fleet is None:
        return sources
    found = _read_fleet(plan, fleet)
    notes = [mismatch(plan, found, hashlib.sha256(read_bytes(fleet)).hexdigest())]
    try:
        if frontier is None:
            points = _waiting("asking for the frontier", lambda: ask_frontier(plan, fleet))
            sources = replace(sources, frontier=points)
    except NoAnswer as error:
        notes.append(f"There is no frontier of everybody: {error}")
    if compare is None:
        policies = _waiting("asking for the policies", lambda: ask_policies(plan, fleet))
        sources = replace(sources, policies=policies)
    for note in filter(None, notes):
        click.echo(f"note: {note}", err=True)
    return replace(sources, note=" ".join(filter(None, notes)))


def _waiting(words: str, work: Callable[[], T]) -> T:
    """Do work whose length nobody knows, saying so on a terminal."""
    from rich.console import Console

    with Console(stderr=True).status(words):
        return work()


def _write(
    plan: Plan,
    sources: "Sources",
    output: Path | None,
    pictures: Path | None,
    picture: Path | None,
) -> list[Path]:
    """Write what is wanted and return the paths."""
    from finetune.report.page import render
    from finetune.report.pictures import plan_alone, write_pictures

    written = []
    if picture is not None:
        plan_alone(plan).write(picture)
        written.append(picture)
    if output is not None:
        write_bytes(output, render(plan, sources).encode())
        written.append(output)
    if pictures is not None:
        written += write_pictures(plan, sources, pictures)
    return written
