"""``legend export``: hand a plan to another tool."""

from pathlib import Path

import click
import msgspec

from finetune.export.files import write_export
from finetune.export.registry import TARGETS
from solver.plan import read_plan

__all__ = ["export"]


@click.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.option(
    "--to", "target", required=True, type=click.Choice(list(TARGETS)), help="What to write."
)
@click.option(
    "-o",
    "--output",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder for the files; made where missing, files of other content are kept.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def export(plan: Path, target: str, folder: Path, as_json: bool) -> None:
    r"""Write PLAN for another tool.

    \b
    peft     a folder for each configuration that peft.LoraConfig.from_pretrained reads,
             and devices.json, which says who trains which
    flower   an app that 'flwr run' executes as it is (needs the extra 'flower' there)
    csv      devices.csv, one row a device
    parquet  devices.parquet, the same table (needs pyarrow)

    \b
    legend export plan.json --to peft -o peft
    """
    result = TARGETS[target](read_plan(plan))
    paths = write_export(result, folder)
    if as_json:
        answer = {
            "target": target,
            "folder": str(folder),
            "files": list(result.files),
            "notes": result.notes,
        }
        click.echo(msgspec.json.encode(answer).decode())
        return
    for path in paths:
        click.echo(f"wrote {path}", err=True)
    for note in result.notes:
        click.echo(f"note: {note}", err=True)
