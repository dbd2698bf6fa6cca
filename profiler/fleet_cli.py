"""``legend fleet``: describe the devices that fine-tune together."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from profiler.schema import Fleet, Profile, Training

__all__ = ["fleet"]

TRAINING_OPTIONS = ("batch_size", "sequence_length", "task", "dtype")
FILE = click.Path(path_type=Path)


@click.command(epilog="Columns of --from: see the documentation of profiler/fleet_csv.py.")
@click.argument("preset", required=False)
@click.option("--from", "table", type=FILE, help="CSV of devices, instead of a preset.")
@click.option(
    "--profile",
    "profiles",
    type=FILE,
    multiple=True,
    help="Measured profile: one for a preset, one a device class for a table.",
)
@click.option("--model", default="", help="Preset or folder with config.json.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--devices", type=click.IntRange(1, 1_000_000), help="Devices of a preset.")
@click.option("--local-steps", type=click.IntRange(1, 10**6), default=10, show_default=True)
@click.option("--batch-size", type=click.IntRange(1, 2**16), help="Examples a step.  [16]")
@click.option("--sequence-length", type=click.IntRange(1, 2**20), help="Tokens.  [128]")
@click.option("--task", type=click.Choice(["classification", "causal-lm"]))
@click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]))
@click.option("-o", "--output", type=FILE, default=Path("fleet.json"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON summary on stdout.")
def fleet(
    preset: str | None,
    table: Path | None,
    profiles: tuple[Path, ...],
    output: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Describe a fleet: PRESET (paper-80), or a table of devices.

    Costs come from closed forms and the hardware catalogue, or from measured profiles.
    """
    from profiler.schema import write

    if (preset is None) == (table is None):
        raise click.UsageError("give a preset (paper-80) or --from devices.csv, not both")
    made = (
        _from_preset(preset, profiles, options)
        if preset is not None
        else _from_table(table or Path(), profiles, options)
    )
    write(output, made)
    summary = _summary(made, output)
    if as_json:
        click.echo(json.dumps(summary))
    else:
        _print(summary)


def _from_preset(preset: str, paths: tuple[Path, ...], options: dict[str, Any]) -> "Fleet":
    from profiler.fleet import FleetRequest, preset_fleet

    if len(paths) > 1:
        raise click.UsageError("a preset takes one --profile; its scale is derived")
    profile = _read_profiles(paths, options)
    return preset_fleet(
        FleetRequest(
            preset=preset,
            seed=options["seed"],
            devices=options["devices"] or 0,
            local_steps=options["local_steps"],
            model=options["model"],
            training=_training(options),
            profile=profile[0] if profile else None,
            profile_path=paths[0] if paths else None,
            options=_given(options),
        )
    )


def _from_table(table: Path, paths: tuple[Path, ...], options: dict[str, Any]) -> "Fleet":
    from profiler.fleet_files import TableRequest, table_fleet

    if options["devices"]:
        raise click.UsageError("--devices is for presets; a table lists its devices")
    if paths and options["model"]:
        raise click.UsageError("--model is for closed forms; the profiles say the model")
    return table_fleet(
        TableRequest(
            path=table,
            profiles=_read_profiles(paths, options),
            profile_paths=paths,
            model=options["model"],
            training=_training(options),
            local_steps=options["local_steps"],
            options=_given(options),
        )
    )


def _read_profiles(paths: tuple[Path, ...], options: dict[str, Any]) -> "list[Profile]":
    from profiler.schema import read_profile

    given = [name for name in TRAINING_OPTIONS if options[name]]
    if paths and given:
        flag = given[0].replace("_", "-")
        raise click.UsageError(f"--{flag} is for closed forms; the profile says it")
    return [read_profile(path) for path in paths]


def _training(options: dict[str, Any]) -> "Training":
    import msgspec

    from profiler.derive import DEFAULT_TRAINING

    given = {name: options[name] for name in TRAINING_OPTIONS if options[name]}
    if given.get("task") == "causal-lm":
        given["labels"] = 0
    return msgspec.structs.replace(DEFAULT_TRAINING, **given)


def _given(options: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in options.items() if value not in (None, "")}


def _summary(made: "Fleet", output: Path) -> dict[str, Any]:
    from profiler.roofline import full_depth_step_s

    return {
        "output": str(output),
        "model": made.model.name,
        "layers": made.model.layers,
        "devices": sum(d.count for d in made.devices),
        "classes": [
            {
                "name": c.name,
                "devices": sum(d.count for d in made.devices if d.device_class == c.name),
                "full_depth_step_s": full_depth_step_s(c.time),
                "uplink_bytes_per_s": _range(made, c.name),
            }
            for c in made.classes
        ],
    }


def _range(made: "Fleet", name: str) -> list[float]:
    speeds = [d.uplink_bytes_per_s for d in made.devices if d.device_class == name]
    return [min(speeds), max(speeds)]


def _print(summary: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{summary['devices']} devices, {summary['model']}")
    table.add_column("class")
    for header in ("devices", "step at full depth, rank 8", "uplink"):
        table.add_column(header, justify="right")
    for row in summary["classes"]:
        slow, fast = (speed * 8e-6 for speed in row["uplink_bytes_per_s"])
        table.add_row(
            row["name"],
            str(row["devices"]),
            f"{row['full_depth_step_s']:.3g} s",
            f"{slow:.1f} to {fast:.1f} Mb/s",
        )
    console = Console(stderr=True)
    console.print(table)
    console.print(f"Wrote {summary['output']}")
