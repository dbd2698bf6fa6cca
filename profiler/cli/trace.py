"""Trace options of ``legend fleet``: how devices change, and a fleet at one moment of that.

Or as slow as its devices are in most of it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from profiler.cli.finite import FiniteRange

if TYPE_CHECKING:
    from profiler.schema import Fleet

__all__ = ["fleet_from_trace", "take_trace_options", "trace_options", "write_trace"]

FILE = click.Path(path_type=Path)
SHARE = FiniteRange(0, 1)
F = TypeVar("F", bound=Callable[..., Any])

# Options that shape a new trace, named as the fields of `profiler.trace.generate.TraceRequest`.
SHAPE = {
    "rows": click.option(
        "--rounds", "rows", type=click.IntRange(1, 10**6), help="Rows of the trace.  [100]"
    ),
    "interval_s": click.option(
        "--interval-s",
        type=FiniteRange(0, min_open=True),
        help="Rows by time, so many seconds each, not by round.",
    ),
    "switch_probability": click.option(
        "--switch-probability", type=SHARE, help="Of another power mode, per row.  [0.05]"
    ),
    "bandwidth_sigma": click.option(
        "--bandwidth-sigma",
        type=FiniteRange(0, 10),
        help="Spread of log bandwidth.  [0.4]",
    ),
    "bandwidth_correlation": click.option(
        "--bandwidth-correlation",
        type=FiniteRange(0, 1, max_open=True),
        help="From row to row.  [0.8]",
    ),
    "outage_probability": click.option(
        "--outage-probability", type=SHARE, help="Of dropping out, per row.  [0]"
    ),
    "outage_rows": click.option(
        "--outage-rows", type=FiniteRange(1), help="Mean length of an outage.  [3]"
    ),
}
PLACE = (
    click.option(
        "--trace",
        type=FILE,
        help="Trace to write beside the fleet; read with --at or --within.",
    ),
    click.option(
        "--at",
        type=FiniteRange(),
        help="Write --fleet as --trace has it at this round, or second.",
    ),
    click.option(
        "--within",
        type=SHARE,
        metavar="SHARE",
        help="Write --fleet as slow as each device is at most in this share of --trace.",
    ),
    click.option(
        "--fleet",
        "base",
        type=FILE,
        help="With --at, --within or --set: the fleet that changes.",
    ),
)


def trace_options(command: F) -> F:
    """Add the options to a command; `take_trace_options` takes them out of its arguments."""
    for option in reversed((*PLACE, *SHAPE.values())):
        command = option(command)
    return command


def take_trace_options(options: dict[str, Any]) -> dict[str, Any]:
    """Remove the options that shape a trace and return those that were given.

    Raises
    ------
    click.UsageError
        If some were given where no trace is made.
    """
    shape = {name: options.pop(name) for name in SHAPE}
    given = {name: value for name, value in shape.items() if value is not None}
    reads = options["at"] is not None or options["within"] is not None
    if given and (options["trace"] is None or reads):
        flag = "rounds" if "rows" in given else next(iter(given)).replace("_", "-")
        raise click.UsageError(f"--{flag} is for a new trace; say where with --trace FILE")
    return given


def write_trace(
    fleet: "Fleet", output: Path, path: Path, seed: int, shape: Mapping[str, Any]
) -> None:
    """Draw a trace for the fleet just written to `output`."""
    from profiler.schema import write
    from profiler.trace.generate import TraceRequest, generate_trace

    given = {"seed": seed, **shape}
    options = {name: str(value) for name, value in given.items()}
    request = TraceRequest(**given, fleet_path=output, options=options)
    write(path, generate_trace(fleet, request))


def fleet_from_trace(
    base: Path | None, trace: Path | None, at: float | None, within: float | None
) -> "Fleet":
    """Read a fleet and a trace and put them together: at a moment, or for a share of it."""
    from msgspec.structs import replace

    from profiler.schema import provenance, read_fleet, read_trace
    from profiler.trace.moment import fleet_at
    from profiler.trace.within import fleet_within

    if at is not None and within is not None:
        raise click.UsageError("--at and --within ask for two fleets; give one of them")
    flag = "--at" if within is None else "--within"
    if base is None or trace is None:
        raise click.UsageError(f"{flag} needs --fleet fleet.json and --trace trace.json")
    fleet, changes = read_fleet(base), read_trace(trace)
    if within is None:
        assert at is not None
        made, options = fleet_at(fleet, changes, at), {"at": f"{at:g}"}
    else:
        made, options = fleet_within(fleet, changes, within), {"within": f"{within:g}"}
    source = provenance(
        seed=fleet.provenance.seed,
        options=options,
        inputs=[base, trace],
        origins=fleet.provenance.origins,
    )
    return replace(made, provenance=source)
