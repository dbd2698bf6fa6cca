"""``legend export``: hand a plan, or the adapter of a run, to another tool."""

from pathlib import Path

import click
import msgspec

from finetune.export.files import Export, write_export
from finetune.export.quantised import told_of_base
from finetune.export.registry import ADAPTER_TARGETS, TARGETS
from solver.plan import InputError, read_plan

__all__ = ["export"]


@click.command()
@click.argument("source", metavar="PLAN_OR_RUN", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "target",
    required=True,
    type=click.Choice([*TARGETS, *ADAPTER_TARGETS]),
    metavar="TARGET",
    help="What to write, see above.",
)
@click.option(
    "-o",
    "--output",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder for the files; made where missing, files of other content are kept.",
)
@click.option("--lossy", is_flag=True, help="Write it although the target cannot say it all.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def export(source: Path, target: str, folder: Path, lossy: bool, as_json: bool) -> None:
    r"""Write a plan, or a trained adapter, for another tool.

    \b
    Targets of a plan:
      peft           a folder for each configuration that peft.LoraConfig.from_pretrained
                     reads, and devices.json, which says who trains which
      flower         an app that 'flwr run' executes as it is (needs the extra 'flower'
                     there)
      nvflare        a job that NVIDIA FLARE submits or simulates, with an aggregator for
                     shapes that differ
      axolotl        one YAML file a configuration, ranks by layer
      llama-factory  one YAML file a configuration; one rank for all layers
      mlx            one YAML file a configuration for mlx_lm.lora; one rank for all layers
      fate, fs-llm   FATE-LLM, FederatedScope-LLM: one configuration for all sites
      csv            devices.csv, one row a device
      parquet        devices.parquet, the same table (needs pyarrow)
    Target of a run or an adapter folder:
      vllm           an adapter of one rank and one scale that gives the same logits

    A target that cannot say all that the plan says is refused with what would be lost,
    unless --lossy is given.

    \b
    legend export plan.json --to peft -o peft
    legend export run --to vllm -o served
    """
    result = _render(source, target)
    if result.losses and not lossy:
        raise InputError(f"{'; '.join(result.losses)}. Add --lossy to write it all the same")
    paths = write_export(result, folder)
    if as_json:
        answer = {
            "target": target,
            "folder": str(folder),
            "files": list(result.files),
            "notes": result.notes,
            "losses": result.losses,
        }
        click.echo(msgspec.json.encode(answer).decode())
        return
    for path in paths:
        click.echo(f"wrote {path}", err=True)
    for loss in result.losses:
        click.echo(f"lost: {loss}", err=True)
    for note in result.notes:
        click.echo(f"note: {note}", err=True)


def _render(source: Path, target: str) -> Export:
    if target in ADAPTER_TARGETS:
        if not source.is_dir():
            raise InputError(f"{source}: --to {target} takes the folder of a run or an adapter")
        return ADAPTER_TARGETS[target](source)
    plan = read_plan(source)
    return told_of_base(TARGETS[target](plan), plan, target)
