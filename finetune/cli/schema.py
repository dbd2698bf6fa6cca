"""``legend schema``: print the contract of a file."""

from pathlib import Path

import click

from finetune.export.files import json_bytes
from finetune.schemas import KINDS, json_schema
from solver.plan import write_bytes

__all__ = ["schema"]


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write it here instead.")
def schema(kind: str, output: Path | None) -> None:
    r"""Print the JSON Schema of a KIND of file, with every field described, and its unit.

    \b
    legend schema plan
    legend schema fleet -o fleet.schema.json
    """
    data = json_bytes(json_schema(kind))
    if output is None:
        click.echo(data.decode(), nl=False)
    else:
        write_bytes(output, data)
        click.echo(f"wrote {output}", err=True)
