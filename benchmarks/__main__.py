"""``python -m benchmarks``: list the cases, run one, write the table of results."""

import os
import sys

import click

from benchmarks.pictures.catalogue import draw_all
from benchmarks.registry import NAMES, check_writable, find, run, save
from benchmarks.result import Result
from benchmarks.table import latest, update_readme
from profiler.schema import InputError

OURS = ("benchmarks", "finetune", "profiler", "solver")


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True
)
@click.pass_context
def cli(context: click.Context) -> None:
    """Figures behind what LEGEND claims; benchmarks/README.md holds protocol and results."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)


@cli.command("list")
@click.option("--names", is_flag=True, help="Names alone, one a line.")
def list_cases(names: bool) -> None:
    """List the cases."""
    for name in NAMES:
        click.echo(name if names else f"{name:16}  {find(name).summary}")


@cli.command("run")
@click.argument("name")
@click.option("--quick", is_flag=True, help="Smaller instances, fewer repetitions.")
@click.option("--seeds", type=click.IntRange(1, 1000), help="Repetitions.  [the case's own]")
@click.option("--save", "keep", is_flag=True, help="Write benchmarks/results/NAME.json.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
def run_case(name: str, quick: bool, seeds: int | None, keep: bool, as_json: bool) -> None:
    """Run one case, NAME of 'list', and show its figures."""
    case = find(name)
    if keep:
        # Now rather than after hours of measuring.
        check_writable(quick=quick)
    result = run(case, quick=quick, seeds=seeds, say=lambda t: click.echo(t, err=True))
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(result))
    else:
        show(result)
    if keep:
        click.echo(f"wrote {save(result)}", err=True)


@cli.command("table")
def table() -> None:
    """Write the results on file into benchmarks/README.md."""
    click.echo(f"wrote {update_readme()}", err=True)


@cli.command("pictures")
def pictures() -> None:
    """Draw the results on file into benchmarks/results/pictures/; 'table' shows them."""
    for path in draw_all(latest()):
        click.echo(f"wrote {path}", err=True)


def show(result: Result) -> None:
    """Print figures and notes on stderr."""
    from rich.console import Console
    from rich.table import Table

    from benchmarks.table import HEADERS, cells

    shown = Table(title=f"{result.case}, {result.seeds} seeds, {result.seconds:.0f} s")
    for header in HEADERS:
        # What it was measured on may take lines, the figures may not.
        shown.add_column(header, no_wrap=header != "setting")
    for one in result.figures:
        shown.add_row(*(cell.replace("*", "") for cell in cells(one)))
    width = None if sys.stderr.isatty() else 160
    # Notes are printed as they are: to rich 'legend-planner[bench]' holds a style.
    console = Console(stderr=True, width=width, markup=False, emoji=False)
    console.print(shown)
    for note in result.notes:
        console.print(note)


def main() -> None:
    """Run a command; what a person can mend is one line and exit code 2."""
    try:
        code = cli(prog_name="python -m benchmarks", standalone_mode=False)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except InputError as error:
        _fail(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in OURS:
            raise
        _fail(f"this needs {error.name}; get it with: pip install 'legend-planner[bench]'", 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("stopped by the user; nothing was saved", 130)
    except OSError as error:
        # Files are named where they are read and written; this is what is printed on.
        if error.filename is not None:
            raise
        click.echo(f"benchmarks: cannot print: {error.strerror}", err=True)
        # Without another try to print what is left.
        os._exit(2)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> None:
    click.echo(f"benchmarks: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
