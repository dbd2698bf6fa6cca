"""The part of `legend profile` that measures gains on data."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec.structs import replace

from profiler.gain.default import default_gain
from profiler.schema import InputError, Origin, Profile

__all__ = ["add_gain", "check_gain", "gain_options"]

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT = "default"
FILE = click.Path(path_type=Path)
OTHER_TASKS = ("checked", "benchmark", "transfer", "network", "serve")
COSTS = (
    *("derive", "hardware", "mode", "quick", "power_w", "targets", "task", "labels"),
    *("batch_size", "sequence_length", "dtype", "optimizer", "attention", "dropout"),
    "gradient_checkpointing",
)


def gain_options(command: F) -> F:
    """Add the options of the gain table to a command."""
    for option in reversed(
        [
            click.option(
                "--gain",
                type=click.Choice([DEFAULT, "gradient-energy", "fisher", "probe"]),
                default=DEFAULT,
                show_default=True,
                help="How to find what layers and ranks are worth.",
            ),
            click.option("--data", type=FILE, help="With --gain: table of text and label."),
            click.option(
                "--gain-examples",
                type=click.IntRange(1),
                help="With --gain: examples to use.  [default: 256; probe: 2048]",
            ),
            click.option("--text-column", default="text", show_default=True),
            click.option("--label-column", default="label", show_default=True),
            click.option(
                "--into",
                type=FILE,
                help="With --gain: profile whose costs to keep as they are.",
            ),
        ]
    ):
        command = option(command)
    return command


def check_gain(given: dict[str, Any]) -> None:
    """Refuse options given that do not go together, before anything long begins."""
    data, method = given.get("data"), given.get("gain", DEFAULT)
    if method == DEFAULT:
        for name in ("data", "gain_examples", "text_column", "label_column"):
            if name in given:
                flag = name.replace("_", "-")
                raise InputError(f"--{flag} is for a gain measured on data; add --gain METHOD")
    elif data is None:
        raise InputError(f"--gain {method} needs --data, a table of text and label")
    elif not data.is_file():
        raise InputError(f"{data}: no such file; give a table of text and label with --data")
    _check_company(given)


def _check_company(given: dict[str, Any]) -> None:
    """Refuse what a gain would leave without effect, or the other way round."""
    for name in OTHER_TASKS:
        if name in given and ("gain" in given or "into" in given):
            flag = "check" if name == "checked" else name
            raise InputError(f"--gain and --into make a profile, --{flag} does not; give one")
    for name in COSTS:
        if name in given and "into" in given:
            flag = name.replace("_", "-")
            raise InputError(
                f"--{flag} says how costs are found, and --into keeps those of a profile; "
                "leave one out"
            )


def add_gain(profile: Profile, model: str, options: dict[str, Any]) -> Profile:
    """Profile with the gain table that was asked for."""
    if options["gain"] == DEFAULT:
        return _with_default(profile) if options["into"] else profile
    # Threads that wait sleep instead of spinning, if torch is not loaded yet: on a busy
    # machine that is most of the time.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch

    from profiler.gain.data import Source
    from profiler.gain.measure import measure_gain
    from profiler.progress import ProgressBar

    if options["threads"]:
        torch.set_num_threads(options["threads"])
    with ProgressBar() as listener:
        return measure_gain(
            profile,
            model,
            Source(options["data"], options["text_column"], options["label_column"]),
            options["gain"],
            examples=options["gain_examples"],
            processor=options["processor"],
            seed=options["seed"],
            listener=listener,
        )


def _with_default(profile: Profile) -> Profile:
    gain, record = default_gain(profile.model.layers), profile.provenance
    origins = {**record.origins, "gain": Origin(kind="derived", source=gain.method)}
    options = {k: v for k, v in record.options.items() if not k.startswith("gain_")}
    made = replace(record, options=options, origins=origins)
    return replace(profile, gain=gain, provenance=made)
