"""``legend report``: a plan and its runs as one page."""

from pathlib import Path

import click
import msgspec

from solver.plan import InputError, read_plan, write_bytes

__all__ = ["report"]


@click.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.argument("runs", nargs=-1, metavar="[RUN_DIR]...", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The page, such as report.html.",
)
@click.option("--label", "labels", multiple=True, help="Name of a run, in their order.")
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    help="Also write the plan alone as a picture (.svg or .png).",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def report(
    plan: Path,
    runs: tuple[Path, ...],
    output: Path | None,
    labels: tuple[str, ...],
    picture: Path | None,
    as_json: bool,
) -> None:
    """Show PLAN, and runs that 'legend run' wrote, on one self-contained HTML page."""
    if output is None and picture is None:
        raise InputError(
            "nothing to write; expected -o report.html, --picture plan.svg or both"
        )
    if output is None and runs:
        raise InputError("runs are shown on a page only; expected -o report.html as well")
    wanted = read_plan(plan)
    written = []
    if picture is not None:
        from finetune.report.figures import write_picture
        from finetune.report.layout import lay_out
        from finetune.report.rows import rows_of

        write_picture(wanted, lay_out(rows_of(wanted)), picture)
        written.append(picture)
    if output is not None:
        from finetune.report.page import render
        from finetune.report.runs import read_runs

        write_bytes(output, render(wanted, read_runs(runs, labels)).encode())
        written.append(output)
    if as_json:
        click.echo(msgspec.json.encode({"files": [str(p) for p in written]}).decode())
        return
    for path in written:
        click.echo(f"wrote {path}", err=True)
