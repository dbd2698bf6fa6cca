"""Options of ``legend fleet`` that say the training step, where no profile does."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from profiler.schema import Training

__all__ = ["BASE_DTYPE", "given_training", "said_training", "training_options"]

F = TypeVar("F", bound=Callable[..., Any])

BASE_DTYPE = click.option(
    "--base-dtype",
    type=click.Choice(["same", "nf4"]),
    help="Frozen layers: weights as --dtype, or in 4 bits (QLoRA), derived only.  [same]",
)
# Named as the fields of `profiler.schema.Training`; what is not given is as usual.
OPTIONS = {
    "batch_size": click.option(
        "--batch-size", type=click.IntRange(1, 2**16), help="Examples a step.  [16]"
    ),
    "sequence_length": click.option(
        "--sequence-length", type=click.IntRange(1, 2**20), help="Tokens.  [128]"
    ),
    "task": click.option("--task", type=click.Choice(["classification", "causal-lm"])),
    "labels": click.option(
        "--labels", type=click.IntRange(1, 2**20), help="Classes of --task classification.  [2]"
    ),
    "dtype": click.option(
        "--dtype", type=click.Choice(["float32", "bfloat16", "float16"]), help="[float32]"
    ),
    "base_dtype": BASE_DTYPE,
    "optimizer": click.option(
        "--optimizer", type=click.Choice(["adamw", "sgd"]), help="[adamw]"
    ),
    "attention": click.option(
        "--attention", type=click.Choice(["sdpa", "eager"]), help="[sdpa]"
    ),
    "dropout": click.option(
        "--dropout/--no-dropout", default=None, help="Dropout while training.  [dropout]"
    ),
    "gradient_checkpointing": click.option(
        "--gradient-checkpointing",
        is_flag=True,
        default=None,
        help="Recompute activations in the backward pass.",
    ),
    "targets": click.option(
        "--targets",
        help="Modules to adapt, by name or role, such as q,v or all-linear.  [as PEFT]",
    ),
}


def training_options(command: F) -> F:
    """Add the options to a command."""
    for option in reversed(OPTIONS.values()):
        command = option(command)
    return command


def said_training(options: dict[str, Any]) -> list[str]:
    """Flags of those that a person gave."""
    return [f"--{name.replace('_', '-')}" for name in OPTIONS if options[name] is not None]


def given_training(options: dict[str, Any]) -> "tuple[Training, tuple[str, ...]]":
    """The training step, and the modules that are adapted; none for the family's own."""
    import msgspec

    from profiler.derive import DEFAULT_TRAINING

    given = {name: options[name] for name in OPTIONS if options[name] is not None}
    targets = tuple(filter(None, given.pop("targets", "").split(",")))
    if given.get("task") == "causal-lm":
        if "labels" in given:
            raise click.UsageError("--labels are of --task classification; leave it out")
        given["labels"] = 0
    return msgspec.structs.replace(DEFAULT_TRAINING, **given), targets
