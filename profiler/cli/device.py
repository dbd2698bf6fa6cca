"""The parts of `legend profile` that look at a device: benchmark, transfer, network."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from profiler.network.protocol import DEFAULT_ADDRESS, parse_address
from profiler.schema import InputError, write

if TYPE_CHECKING:
    from profiler.microbench.file import Benchmark
    from profiler.microbench.transfer import Transfer
    from profiler.network.file import Network

__all__ = ["device_options", "device_task"]

F = TypeVar("F", bound=Callable[..., Any])

FILE = click.Path(path_type=Path)
BITS_PER_BYTE = 8


def device_options(command: F) -> F:
    """Add the options that look at a device to a command."""
    for option in reversed(
        [
            click.option(
                "--benchmark", is_flag=True, help="Time this device in 10 s; needs no model."
            ),
            click.option(
                "--transfer", type=FILE, help="Profile to carry over to another device."
            ),
            click.option("--here", type=FILE, help="With --transfer: benchmark of its device."),
            click.option(
                "--there", type=FILE, help="With --transfer: benchmark of the other device."
            ),
            click.option(
                "--network", metavar="HOST:PORT", help="Measure the link to a --serve there."
            ),
            click.option(
                "--serve",
                is_flag=False,
                flag_value=DEFAULT_ADDRESS,
                metavar="[HOST:PORT]",
                help=f"Answer one --network, then end.  [{DEFAULT_ADDRESS}]",
            ),
        ]
    ):
        command = option(command)
    return command


def device_task(
    model: str | None, output: Path | None, options: dict[str, Any], *, as_json: bool
) -> bool:
    """Do what the device options ask for; False if they ask for nothing.

    Raises
    ------
    InputError
        If options are given that do not go together.
    """
    asked = [name for name in ("benchmark", "transfer", "network", "serve") if options[name]]
    _check(asked, model, output, options)
    if not asked:
        return False
    tasks = {
        "benchmark": _benchmark,
        "transfer": _transfer,
        "network": _network,
        "serve": _serve,
    }
    tasks[asked[0]](model or "", output, options, as_json=as_json)
    return True


def _check(
    asked: list[str], model: str | None, output: Path | None, options: dict[str, Any]
) -> None:
    if len(asked) > 1:
        raise InputError(f"--{asked[0]} and --{asked[1]} do not go together; give one of them")
    task = asked[0] if asked else ""
    for name in ("here", "there"):
        if options[name] and task != "transfer":
            raise InputError(f"--{name} is for --transfer; add --transfer PROFILE")
        if task == "transfer" and not options[name]:
            raise InputError(
                f"--transfer needs --{name}, a file of 'legend profile --benchmark'"
            )
    if task and task != "transfer" and model:
        raise InputError(f"--{task} takes no model, saw '{model}'; leave it out")
    if task in ("benchmark", "transfer") and output is None:
        raise InputError(f"--{task} needs -o, the file to write")


def _benchmark(
    model: str, output: Path | None, options: dict[str, Any], *, as_json: bool
) -> None:
    from profiler.microbench.run import run_benchmark

    if options["processor"] != "cpu":
        raise InputError("--benchmark times CPUs; for a GPU use --derive --hardware")
    if not as_json:
        click.echo("timing this device for about 10 s", err=True)
    made = run_benchmark(options["threads"], options["seed"])
    _write(output, made)
    _show(_benchmark_figures(made, output), as_json, _benchmark_lines(made))


def _benchmark_figures(made: "Benchmark", output: Path | None) -> dict[str, Any]:
    return {
        "benchmark": str(output),
        "device": made.device.name,
        "threads": made.device.threads,
        "quota_cores": made.quota_cores,
        "busy_fraction": made.busy_fraction,
        "kernels": [
            {
                "backend": kernel.backend,
                "name": kernel.name,
                "call_s": kernel.call_s,
                "spread_fraction": kernel.spread_fraction,
            }
            for kernel in made.kernels
        ],
    }


def _benchmark_lines(made: "Benchmark") -> list[str]:
    quota = f", quota {made.quota_cores:g} cores" if made.quota_cores else ""
    lines = [f"{made.device.name}, CPU threads: {made.device.threads}{quota}"]
    for kernel in made.kernels:
        rate = (
            f"{kernel.flops / kernel.call_s / 1e9:.1f} GFLOP/s"
            if kernel.flops
            else f"{kernel.traffic_bytes / kernel.call_s / 1e9:.1f} GB/s"
            if kernel.kind == "copy"
            else f"{kernel.call_s / kernel.elements * 1e9:.2f} ns a number"
        )
        spread = f"± {kernel.spread_fraction:.1%}"
        lines.append(f"  {kernel.backend:<6}{kernel.name:<28}{rate:>20}  {spread}")
    return lines


def _transfer(
    model: str, output: Path | None, options: dict[str, Any], *, as_json: bool
) -> None:
    from profiler.cli.making import drawing
    from profiler.microbench.transfer import transfer_files
    from profiler.show import key_figures, show_profile

    made = transfer_files(options["transfer"], options["here"], options["there"], model)
    profile = drawing(made.profile, options["power_w"])
    _write(output, profile)
    for note in made.notes:
        click.echo(f"note: {note}", err=True)
    if as_json:
        figures = key_figures(profile, str(output))
        click.echo(
            json.dumps({**figures, "backend": made.backend, "ratios": made.ratios}, indent=2)
        )
        return
    show_profile(profile)
    click.echo(_ratio_line(made))
    click.echo(f"wrote {output}")


def _ratio_line(made: "Transfer") -> str:
    ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in made.ratios.items())
    return f"time there over time here, by {made.backend}: {ratios}"


def _network(
    model: str, output: Path | None, options: dict[str, Any], *, as_json: bool
) -> None:
    from profiler.network.client import measure_network

    if not as_json:
        click.echo("measuring the link; slow ones take half a minute", err=True)
    made = measure_network(options["network"])
    if output is not None:
        _write(output, made)
    _show(_network_figures(made), as_json, _network_lines(made, output))


def _network_figures(made: "Network") -> dict[str, Any]:
    return {
        name: getattr(made, name)
        for name in made.__struct_fields__
        if name not in ("schema", "provenance")
    }


def _network_lines(made: "Network", output: Path | None) -> list[str]:
    up, down = (
        rate * BITS_PER_BYTE / 1e6
        for rate in (made.uplink_bytes_per_s, made.downlink_bytes_per_s)
    )
    latency_s = made.latency_s
    return [
        f"uplink {up:.2f} Mb/s ± {made.uplink_spread_fraction:.1%}, downlink {down:.2f} Mb/s "
        f"± {made.downlink_spread_fraction:.1%}, round trip {latency_s * 1e3:.2f} ms "
        f"± {made.latency_spread_s * 1e3:.2f} ms, to {made.peer}",
        "for the table of 'legend fleet --from':",
        "uplink_mbit_per_s,downlink_mbit_per_s,latency_s",
        f"{up:.3f},{down:.3f},{latency_s:.6f}",
        *([f"wrote {output}"] if output else []),
    ]


def _serve(model: str, output: Path | None, options: dict[str, Any], *, as_json: bool) -> None:
    from profiler.network.server import Limits, serve

    if output is not None:
        raise InputError("--serve writes nothing; leave out -o (--network takes it)")
    limits = Limits()

    def ready(host: str, port: int) -> None:
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        click.echo(
            f"waiting for one 'legend profile --network {shown}', "
            f"at most {limits.lifetime_s / 60:.0f} minutes",
            err=True,
        )

    served = serve(*parse_address(options["serve"]), limits, ready)
    if not served.measured:
        raise InputError(
            f"nobody measured within {limits.lifetime_s / 60:.0f} minutes "
            f"({served.turned_away} connections turned away); start again"
        )
    figures = {"moved_bytes": served.moved_bytes, "turned_away": served.turned_away}
    line = (
        f"measured: {served.moved_bytes / 1e6:.1f} MB moved; {served.turned_away} turned away"
    )
    _show(figures, as_json, [line])


def _write(output: Path | None, made: Any) -> None:
    if output is not None:
        write(output, made)


def _show(figures: dict[str, Any], as_json: bool, lines: list[str]) -> None:
    if as_json:
        click.echo(json.dumps(figures, indent=2))
    else:
        click.echo("\n".join(lines))
