"""``legend fleet``: describe the devices that fine-tune together, and how they change."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from profiler.cli.finite import FiniteRange
from profiler.cli.fleet_help import Listing
from profiler.cli.fleet_summary import report
from profiler.cli.given import refuse_given
from profiler.cli.trace import (
    fleet_from_trace,
    take_trace_options,
    trace_options,
    write_trace,
)
from profiler.cli.training import given_training, said_training, training_options

if TYPE_CHECKING:
    from profiler.schema import Fleet, Profile

__all__ = ["fleet"]

FILE = click.Path(path_type=Path)
WITH_SET = {"base", "changes", "output", "as_json"}
WITH_TRACE = WITH_SET | {"at", "within", "trace"}


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
@training_options
@click.option("--all-modes", is_flag=True, help="Also classes that no device starts in.")
@click.option("--links", "links_path", type=FILE, help="CSV of links that devices share.")
@click.option(
    "--access-points", type=click.IntRange(1), help="Links that a preset's devices share."
)
@click.option("--sites", type=click.IntRange(1), help="Links that its access points share.")
@trace_options
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="CHANGE",
    help="Write it with a change, also of --fleet: 'class=NAME,power_w=6', as for 'legend "
    "solve'; may be given again.",
)
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
    changes: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    r"""Describe a fleet: PRESET (paper-80), or a table of devices.

    Costs come from closed forms and the hardware catalogue, or from measured profiles. With
    --trace, how modes, bandwidth and availability change goes into a second file. With --at, a
    fleet is read and written as it stands at one moment of such a trace; with --within 0.9, as
    slow as each device is at most in nine tenths of it, to plan for what comes. With --set, a
    fleet is written as a what-if has it.

    \b
    legend fleet paper-80 --model roberta-base -o fleet.json
    legend fleet --from devices.csv --model roberta-base -o fleet.json
    legend fleet paper-80 --profile profile.json --trace trace.json -o fleet.json
    legend fleet --fleet fleet.json --trace trace.json --within 0.95 -o slow.json
    legend fleet --fleet fleet.json --set all,memory_gb=4 -o roomy.json
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
    if (moves or (changes and base is not None)) and not given and not profiles:
        flag = "--within" if within is not None else "--at" if moves else "--set"
        heeded = WITH_TRACE if moves else WITH_SET
        why = f"{flag} writes a fleet that is there"
        refuse_given(ctx, ctx.params.keys() - heeded, why)
        made = fleet_from_trace(base, trace, at, within) if moves else _fleet_again(base)
    elif not moves and base is None and len(given) == 1:
        if trace == output:
            raise click.UsageError(f"--trace and --output are both {output}; name two files")
        options["all_modes"] |= trace is not None
        if table is not None and trace is None:
            refuse_given(ctx, ["seed"], "a table says all, and nothing is drawn")
        made = _from_source(preset, table, profiles, options)
    else:
        raise click.UsageError(
            "give one of: a preset (paper-80), --from devices.csv, or --at, --within or --set "
            "with --fleet"
        )
    made = _with_changes(made, changes)
    write(output, made)
    if trace is not None and not moves:
        write_trace(made, output, trace, options["seed"], shape)
    report(made, output, None if moves else trace, as_json=as_json)


def _fleet_again(base: Path | None) -> "Fleet":
    """A fleet from its file, as the only input of what becomes of it."""
    import msgspec

    from profiler.schema import provenance, read_fleet

    assert base is not None
    fleet = read_fleet(base)
    before = fleet.provenance
    source = provenance(seed=before.seed, inputs=[base], origins=before.origins)
    return msgspec.structs.replace(fleet, provenance=source)


def _with_changes(fleet: "Fleet", changes: tuple[str, ...]) -> "Fleet":
    """The fleet of a what-if, which says that it is one."""
    import msgspec

    from profiler.schema import Origin, changed

    if not changes:
        return fleet
    said = "; ".join(changes)
    source = msgspec.structs.replace(
        fleet.provenance,
        options={**fleet.provenance.options, "set": said},
        origins={
            **fleet.provenance.origins,
            "set": Origin(kind="catalogue", source=f"given with --set: {said}"),
        },
    )
    return msgspec.structs.replace(changed(fleet, changes), provenance=source)


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
    training, targets = given_training(options)
    return preset_fleet(
        FleetRequest(
            preset=preset,
            seed=options["seed"],
            devices=options["devices"] or 0,
            local_steps=options["local_steps"],
            storage_bytes=_storage_bytes(options, STORAGE_BYTES),
            model=options["model"],
            training=training,
            targets=targets,
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
    training, targets = given_training(options)
    return table_fleet(
        TableRequest(
            path=table,
            profiles=_read_profiles(paths, options),
            profile_paths=paths,
            model=options["model"],
            training=training,
            targets=targets,
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

    given = said_training(options)
    if paths and given:
        raise click.UsageError(f"{given[0]} is for closed forms; the profile says it")
    return [read_profile(path) for path in paths]


def _given(options: dict[str, Any]) -> dict[str, str]:
    return {
        name: str(value)
        for name, value in options.items()
        # A flag that was not given is False, but for the one that says no.
        if value not in (None, "") and (value is not False or name == "dropout")
    }
