"""``legend rehearse``: what rounds take on a fleet that changes, without training."""

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from finetune.cli.round_options import changing
from finetune.options import RunOptions
from profiler.schema import check_writable, read_fleet, read_trace, write_bytes
from solver.plan import read_plan

if TYPE_CHECKING:
    from rich.table import Table

    from finetune.replan.rehearsal import Rehearsal
    from profiler.schema import Fleet, Trace

__all__ = ["rehearse"]

DEFAULT = RunOptions(rounds=100)
FILE = click.Path(path_type=Path)
# Columns of a table that goes into a file.
WIDE = 120


@click.command()
@click.argument("plans", nargs=-1, required=True, metavar="PLAN...", type=FILE)
@click.option("--fleet", required=True, type=FILE, help="The fleet that they were made for.")
@changing
@click.option("--rounds", type=int, default=DEFAULT.rounds, show_default=True)
@click.option(
    "--sample",
    type=int,
    default=DEFAULT.sample,
    show_default=True,
    help="Devices asked in a round; all if there are fewer.",
)
@click.option(
    "--seed", type=int, default=DEFAULT.seed, show_default=True, help="Of who is asked."
)
@click.option("-o", "--output", type=FILE, help="Write every round here, as --json prints it.")
@click.option("--json", "as_json", is_flag=True, help="Print every round as JSON.")
def rehearse(
    plans: tuple[Path, ...],
    fleet: Path,
    trace: Path | None,
    output: Path | None,
    as_json: bool,
    **choices: object,
) -> None:
    r"""Play the rounds of PLANs on the clock alone: what they take where devices change.

    Nothing is trained, and neither torch nor the model is needed. Times, waits and bytes are
    those of 'legend run' with the same options. Promised is a plan's budget on the round time,
    or else what it predicts of a round in which everybody is asked.

    \b
    legend fleet paper-80 --all-modes --trace trace.json -o fleet.json
    legend rehearse plan.json --fleet fleet.json --trace trace.json
    legend rehearse mine.json theirs.json --fleet fleet.json --trace trace.json --sample 80
    legend rehearse plan.json --fleet fleet.json --trace trace.json --replan-on-drift 0.15
    """
    if output is not None:
        check_writable(output, *plans, fleet, trace)
    options = msgspec.structs.replace(DEFAULT, **choices)
    given, moving = read_fleet(fleet), None if trace is None else read_trace(trace)
    found = [_played(plan, given, moving, options) for plan in plans]
    told = msgspec.json.encode(found)
    if output is not None:
        write_bytes(output, msgspec.json.format(told, indent=2) + b"\n")
    if as_json:
        click.echo(told.decode())
        return
    from rich.console import Console

    width = None if sys.stdout.isatty() else WIDE
    Console(width=width, markup=False, emoji=False, highlight=False).print(_table(found))
    if output is not None:
        click.echo(f"wrote {output}", err=True)


def _played(
    plan: Path, fleet: "Fleet", trace: "Trace | None", options: RunOptions
) -> "Rehearsal":
    """Rehearse one plan; on a terminal, show how far it is."""
    from rich.console import Console
    from rich.progress import track

    from finetune.replan.rehearsal import Rehearsal
    from finetune.replan.rehearse import rehearse as play

    with tempfile.TemporaryDirectory() as folder:
        rounds = list(
            track(
                play(plan, fleet, trace, options, Path(folder)),
                description=plan.name,
                total=options.rounds,
                console=Console(stderr=True),
                transient=True,
                disable=not sys.stderr.isatty(),
            )
        )
    return Rehearsal.of(str(plan), read_plan(plan), rounds)


def _table(found: "list[Rehearsal]") -> "Table":
    """Plans side by side."""
    from rich import box
    from rich.table import Table

    count = len(found[0].rounds)
    table = Table(
        title=f"{count} round{'s' * (count != 1)}: seconds and MB of one",
        caption="over: rounds longer than promised; wait and MB: means over the rounds",
        box=box.SIMPLE,
    )
    table.add_column("plan", overflow="fold")
    late, anew = any(each.left_out for each in found), any(each.new_plans for each in found)
    headings = ["utility", "promise", "median", "90 %", "longest", "over", "wait", "MB"]
    for heading in headings + ["left out"] * late + ["new plans"] * anew:
        table.add_column(heading, justify="right")
    for each in found:
        times_s = (each.promised_s, each.median_s, each.ninety_s, each.longest_s)
        table.add_row(
            each.plan,
            f"{each.utility:.4f}",
            *map(_plain, times_s),
            f"{each.over_fraction:.0%}",
            _plain(each.mean_wait_s),
            _plain((each.upload_bytes + each.download_bytes) / count / 1e6),
            *[str(each.left_out)] * late,
            *[str(each.new_plans)] * anew,
        )
    return table


def _plain(value: float) -> str:
    """Four digits or more, never a power of ten."""
    return f"{value:.4g}" if 1e-3 <= value < 9999.5 else f"{value:.0f}"
