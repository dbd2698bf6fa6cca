"""``legend doctor``: what is installed, what is missing, and what adds it."""

from typing import TYPE_CHECKING

import click
import msgspec

if TYPE_CHECKING:
    from finetune.doctor import Finding

__all__ = ["doctor"]

STYLES = {"ok": "green", "missing": "yellow", "broken": "red", "absent": "dim"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    r"""Say what is installed here, what is missing, and the command that adds it.

    Exits 0 where planning works, whatever else is missing, and 2 where it does not.

    \b
    legend doctor --json
    """
    from finetune.doctor import examine

    findings = examine()
    if as_json:
        click.echo(msgspec.json.encode(findings).decode())
    else:
        _show(findings)
    broken = [f for f in findings if f.state == "broken" or _stops_planning(f)]
    ctx.exit(2 if broken else 0)


def _stops_planning(finding: "Finding") -> bool:
    return finding.state == "missing" and finding.needed_for == "planning"


def _show(findings: "list[Finding]") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "state", "found", "needed for"):
        table.add_column(column, overflow="fold")
    for f in findings:
        state = Text(f.state, style=STYLES[f.state])
        table.add_row(f.name, state, f.seen, f.needed_for)
    console = Console(markup=False, emoji=False, highlight=False)
    console.print(table)
    for remedy in dict.fromkeys(f.remedy for f in findings if f.remedy):
        names = ", ".join(f.name for f in findings if f.remedy == remedy)
        console.print(f"{names}: {remedy}", soft_wrap=True)
