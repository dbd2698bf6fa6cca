"""Commands that make profiles and fleets."""

import json
from pathlib import Path
from typing import Any

import click

from profiler.fleet_cli import fleet
from profiler.schema import InputError, Profile, Training, write

__all__ = ["fleet", "profile"]


@click.command()
@click.argument("model")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Profile to write."
)
@click.option("--batch-size", type=click.IntRange(1), default=16, show_default=True)
@click.option("--sequence-length", type=click.IntRange(1), default=64, show_default=True)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
)
@click.option(
    "--optimizer", type=click.Choice(["adamw", "sgd"]), default="adamw", show_default=True
)
@click.option(
    "--attention", type=click.Choice(["sdpa", "eager"]), default="sdpa", show_default=True
)
@click.option("--dropout/--no-dropout", default=True, help="Dropout while training.")
@click.option("--gradient-checkpointing", is_flag=True, help="Recompute activations.")
@click.option(
    "--task",
    type=click.Choice(["classification", "causal-lm"]),
    default="classification",
    show_default=True,
)
@click.option("--labels", type=click.IntRange(1), default=2, show_default=True)
@click.option(
    "--targets",
    default="",
    help="Modules to adapt, by name or role, such as q,v or all-linear.  [default: as PEFT]",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--quick", is_flag=True, help="Fewer probes and rounds.")
@click.option(
    "--device",
    "processor",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
)
@click.option(
    "--threads", type=click.IntRange(0), default=0, help="CPU threads.  [default: as torch]"
)
@click.option("--derive", is_flag=True, help="Work the costs out instead of measuring them.")
@click.option("--hardware", help="With --derive: device of the catalogue.")
@click.option("--mode", help="With --derive: its power mode.")
@click.option("--json", "as_json", is_flag=True, help="Key figures as JSON on stdout.")
def profile(model: str, output: Path, derive: bool, as_json: bool, **options: Any) -> None:
    """Measure what adapting MODEL costs on this machine, by depth and rank.

    MODEL is a local Hugging Face folder (or a hub id in the local cache). With --derive the
    costs on a device of the hardware catalogue are worked out from its config.json, or from
    a preset's name, without running anything.
    """
    if not output.parent.is_dir():
        raise InputError(f"{output}: no folder {output.parent}; make it first")
    training = _training(options)
    made = _derive(model, training, options) if derive else _measure(model, training, options)
    write(output, made)
    _report(made, output, as_json=as_json)


def _training(options: dict[str, Any]) -> Training:
    decoder = options["task"] == "causal-lm"
    return Training(
        batch_size=options["batch_size"],
        sequence_length=options["sequence_length"],
        dtype=options["dtype"],
        optimizer=options["optimizer"],
        attention=options["attention"],
        dropout=options["dropout"],
        gradient_checkpointing=options["gradient_checkpointing"],
        task=options["task"],
        labels=0 if decoder else options["labels"],
    )


def _measure(model: str, training: Training, options: dict[str, Any]) -> Profile:
    if options["hardware"] or options["mode"]:
        raise InputError("--hardware and --mode describe another device; add --derive")
    from profiler.measure import FULL, QUICK, measure_profile
    from profiler.progress import ProgressBar

    with ProgressBar() as listener:
        return measure_profile(
            model,
            training,
            targets=_targets(options),
            processor=options["processor"],
            threads=options["threads"],
            effort=QUICK if options["quick"] else FULL,
            seed=options["seed"],
            listener=listener,
        )


def _derive(model: str, training: Training, options: dict[str, Any]) -> Profile:
    if not options["hardware"]:
        raise InputError("--derive needs --hardware, a device of the catalogue")
    from profiler.derive import derive_profile

    return derive_profile(
        model, options["hardware"], options["mode"], training, targets=_targets(options)
    )


def _targets(options: dict[str, Any]) -> tuple[str, ...]:
    return tuple(filter(None, options["targets"].split(",")))


def _report(made: Profile, output: Path, *, as_json: bool) -> None:
    from profiler.show import key_figures, show_profile

    if as_json:
        click.echo(json.dumps(key_figures(made, str(output)), indent=2))
        return
    show_profile(made)
    click.echo(f"wrote {output}")
