"""``legend fleet``: describe the devices that fine-tune together, and how they change."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from profiler.cli.finite import FiniteRange
from profiler.cli.fleet_help import Listing
from profiler.cli.given import refuse_given
from profiler.cli.trace import (
    fleet_from_trace,
    take_trace_options,
    trace_options,
    write_trace,
)

if TYPE_CHECKING:
    from profiler.schema import Fleet, Profile, Training

__all__ = ["fleet"]

TRAINING_OPTIONS = ("batch_size", "sequence_length", "task", "dtype")
FILE = click.Path(path_type=Path)
WITH_TRACE = {"at", "within", "base", "trace", "output", "as_json"}
# Columns where there is no terminal to fit.
WIDE = 140


@click.command(cls=Listing)
@click.argument("preset", required=False)
@click.option(
    "--from",
    "table",
    type=FILE,
    help="Devices instead of a preset: CSV, .parquet, or .json of Flower node configurations.",
)
@click.option(
    "--profile",
    "profiles",
    type=FILE,
    multiple=True,
    help="Measured profile: one for a preset, one a device class for a table.",
)
@click.option(
    "--model",
    default="",
    help="Name of a model below, or a folder with its config.json.  [roberta-base]",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--devices", type=click.IntRange(1, 1_000_000), help="Devices of a preset.")
@click.option("--local-steps", type=click.IntRange(1, 10**6), default=10, show_default=True)
@click.option(
    "--storage-gb",
    type=FiniteRange(0, 1e6),
    metavar="GB",
    help="Storage of a device for cached layer outputs.  [4 for presets, none for tables]",
)
@click.option("--batch-size", type=click.IntRange(1, 2**16), help="Examples a step.  [16]")
@click.option("--sequence-length", type=click.IntRange(1, 2**20), help="Tokens.  [128]")
@click.option("--task", type=click.Choice(["classification", "causal-lm"]))
@click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]))
@click.option("--all-modes", is_flag=True, help="Also classes that no device starts in.")
@click.option("--links", "links_path", type=FILE, help="CSV of links that devices share.")
@click.option(
    "--access-points", type=click.IntRange(1), help="Links that a preset's devices share."
)
@click.option("--sites", type=click.IntRange(1), help="Links that its access points share.")
@trace_options
@click.option("-o", "--output", type=FILE, default=Path("fleet.json"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON summary on stdout.")
@click.pass_context
def fleet(
    ctx: click.Context,
    /,
    preset: str | None,
    table: Path | None,
    profiles: tuple[Path, ...],
    output: Path,
    as_json: bool,
    **options: Any,
) -> None:
    r"""Describe a fleet: PRESET (paper-80), or a table of devices.

    Costs come from closed forms and the hardware catalogue, or from measured profiles. With
    --trace, how modes, bandwidth and availability change goes into a second file. With --at, a
    fleet is read and written as it stands at one moment of such a trace; with --within 0.9, as
    slow as each device is at most in nine tenths of it, to plan for what comes.

    \b
    legend fleet paper-80 --model roberta-base -o fleet.json
    legend fleet --from devices.csv --model roberta-base -o fleet.json
    legend fleet paper-80 --profile profile.json --trace trace.json -o fleet.json
    legend fleet --fleet fleet.json --trace trace.json --within 0.95 -o slow.json
    """
    from profiler.schema import check_writable, write

    shape = take_trace_options(options)
    trace, base = options.pop("trace"), options.pop("base")
    at, within = options.pop("at"), options.pop("within")
    moves = at is not None or within is not None
    read = (table, options["links_path"], base, *profiles)
    check_writable(output, *read, trace if moves else None)
    if trace is not None and not moves:
        check_writable(trace, *read)
    given = [name for name in (preset, table) if name is not None]
    if moves and not given and not profiles:
        flag = "--within" if at is None else "--at"
        refuse_given(
            ctx, ctx.params.keys() - WITH_TRACE, f"{flag} writes a fleet that is there"
        )
        made = fleet_from_trace(base, trace, at, within)
    elif not moves and base is None and len(given) == 1:
        if trace == output:
            raise click.UsageError(f"--trace and --output are both {output}; name two files")
        options["all_modes"] |= trace is not None
        if table is not None and trace is None:
            refuse_given(ctx, ["seed"], "a table says all, and nothing is drawn")
        made = _from_source(preset, table, profiles, options)
    else:
        raise click.UsageError(
            "give one of: a preset (paper-80), --from devices.csv, or --at or --within with "
            "--fleet"
        )
    write(output, made)
    if trace is not None and not moves:
        write_trace(made, output, trace, options["seed"], shape)
    _report(_summary(made, output, None if moves else trace), as_json=as_json)


def _report(summary: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(summary))
    else:
        _print(summary)


def _from_source(
    preset: str | None, table: Path | None, paths: tuple[Path, ...], options: dict[str, Any]
) -> "Fleet":
    if preset is not None:
        return _from_preset(preset, paths, options)
    return _from_table(table or Path(), paths, options)


def _from_preset(preset: str, paths: tuple[Path, ...], options: dict[str, Any]) -> "Fleet":
    from profiler.fleet import FleetRequest, preset_fleet
    from profiler.fleet.devices import STORAGE_BYTES

    if options["links_path"]:
        raise click.UsageError("--links is for tables; a preset takes --access-points")
    if options["sites"] and not options["access_points"]:
        raise click.UsageError("--sites joins access points; say how many: --access-points N")
    if len(paths) > 1:
        raise click.UsageError("a preset takes one --profile; its scale is derived")
    profile = _read_profiles(paths, options)
    return preset_fleet(
        FleetRequest(
            preset=preset,
            seed=options["seed"],
            devices=options["devices"] or 0,
            local_steps=options["local_steps"],
            storage_bytes=_storage_bytes(options, STORAGE_BYTES),
            model=options["model"],
            training=_training(options),
            profile=profile[0] if profile else None,
            profile_path=paths[0] if paths else None,
            all_modes=options["all_modes"],
            access_points=options["access_points"] or 0,
            sites=options["sites"] or 0,
            options=_given(options),
        )
    )


def _from_table(table: Path, paths: tuple[Path, ...], options: dict[str, Any]) -> "Fleet":
    from profiler.fleet.files import TableRequest, table_fleet

    if options["devices"]:
        raise click.UsageError("--devices is for presets; a table lists its devices")
    if options["access_points"] or options["sites"]:
        raise click.UsageError("--access-points and --sites are for presets; give --links")
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
            storage_bytes=_storage_bytes(options, 0),
            all_modes=options["all_modes"],
            links_path=options["links_path"],
            options=_given(options),
        )
    )


def _storage_bytes(options: dict[str, Any], otherwise: int) -> int:
    given = options["storage_gb"]
    return otherwise if given is None else round(given * 1e9)


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
    return {
        name: str(value)
        for name, value in options.items()
        if value not in (None, "") and value is not False
    }


def _summary(made: "Fleet", output: Path, trace: Path | None) -> dict[str, Any]:
    from profiler.predict import full_depth_step_s

    return {
        "output": str(output),
        "trace": None if trace is None else str(trace),
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
    """Slowest and fastest uplink of a class; empty where no device is in it."""
    speeds = [d.uplink_bytes_per_s for d in made.devices if d.device_class == name]
    return [min(speeds), max(speeds)] if speeds else []


def _mbit_per_s(speed_bytes_per_s: float) -> str:
    """One decimal, or two digits of what is slower than that shows."""
    mbit_per_s = speed_bytes_per_s * 8e-6
    return f"{mbit_per_s:.1f}" if mbit_per_s >= 0.1 else f"{mbit_per_s:.2g}"


def _seconds(value_s: float) -> str:
    """Three digits or more, never a power of ten."""
    return f"{value_s:.3g} s" if value_s < 999.5 else f"{value_s:.0f} s"


def _print(summary: dict[str, Any]) -> None:
    """Print on stderr, in full: in a file there is no width to keep to."""
    from rich.console import Console
    from rich.table import Table

    devices = summary["devices"]
    table = Table(title=f"{devices} device{'s' * (devices != 1)}, {summary['model']}")
    table.add_column("class", overflow="fold")
    for header in ("devices", "step at full depth, rank 8", "uplink"):
        table.add_column(header, justify="right", overflow="fold")
    for row in summary["classes"]:
        speeds = " to ".join(dict.fromkeys(map(_mbit_per_s, row["uplink_bytes_per_s"])))
        table.add_row(
            row["name"],
            str(row["devices"]),
            _seconds(row["full_depth_step_s"]),
            f"{speeds} Mb/s" if speeds else "",
        )
    width = None if sys.stderr.isatty() else WIDE
    # Names are printed as they are, whatever brackets and colons they hold.
    console = Console(stderr=True, width=width, markup=False, emoji=False, highlight=False)
    console.print(table)
    for path in filter(None, (summary["output"], summary["trace"])):
        console.print(f"wrote {path}", soft_wrap=True)
