"""What ``legend fleet`` says of the fleet that it wrote."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from profiler.schema import Fleet

__all__ = ["report"]

# Columns where there is no terminal to fit.
WIDE = 140


def report(made: "Fleet", output: Path, trace: Path | None, *, as_json: bool) -> None:
    """Print a fleet's classes and where it went: JSON on stdout, or a table on stderr."""
    summary = _summary(made, output, trace)
    if as_json:
        click.echo(json.dumps(summary))
    else:
        _print(summary)


def _summary(made: "Fleet", output: Path, trace: Path | None) -> dict[str, Any]:
    from profiler.predict import full_depth_step_s

    return {
        "output": str(output),
        "trace": None if trace is None else str(trace),
        "model": made.model.name,
        "layers": made.model.layers,
        "devices": sum(d.count for d in made.devices),
        "limited_devices": _limited(made),
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


def _limited(made: "Fleet") -> int:
    """Devices that have a limit of their own or of their class."""
    from profiler.schema import LIMITS, limit_of

    classes = {c.name: c for c in made.classes}
    return sum(
        d.count
        for d in made.devices
        if any(limit_of(d, classes[d.device_class], field) is not None for field in LIMITS)
    )


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
    if limited := summary["limited_devices"]:
        console.print(f"{limited} of {devices} with limits of their own", soft_wrap=True)
    for path in filter(None, (summary["output"], summary["trace"])):
        console.print(f"wrote {path}", soft_wrap=True)
