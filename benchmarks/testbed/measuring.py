"""From caged devices to a fleet: a profile, a benchmark in every cage, a look at every link."""

import csv
import time
from pathlib import Path

from msgspec.structs import replace

from benchmarks.testbed.bench import Bench, legend_command, wait_for
from benchmarks.testbed.devices import Spec
from benchmarks.testbed.network import server_address
from profiler.microbench.file import read_benchmark
from profiler.microbench.transfer import transfer_files
from profiler.network.file import Network as Link
from profiler.network.file import read_network
from profiler.schema import write
from profiler.units import BYTES_PER_S_PER_MBIT

__all__ = ["BATCH_SIZE", "SEQUENCE_LENGTH", "measure_fleet", "solve"]

BATCH_SIZE, SEQUENCE_LENGTH = 16, 64
PORT = 7433
PATIENCE_S = 400.0


def measure_fleet(bench: Bench, local_steps: int, examples: int, *, quick: bool) -> Path:
    """Measure every device where it will train, and write the fleet.

    The model is profiled once, on a free core, as it would take the slowest device minutes;
    its profile is carried to each by a benchmark that runs in the cage under the quota.
    """
    training = ("--batch-size", BATCH_SIZE, "--sequence-length", SEQUENCE_LENGTH)
    with bench.processes("profile") as processes:
        effort = ["--quick"] if quick else []
        words = legend_command(
            "profile", bench.model, "-o", bench.folder / "here.json", "--threads", 1,
            "--targets", "all-linear", *training, *effort,
        )  # fmt: skip
        wait_for(processes, {"profile": processes.start("profile", words)}, PATIENCE_S)
        here = legend_command("profile", "--benchmark", "--threads", 1, "-o")
        path = str(bench.folder / "bench-here.json")
        wait_for(processes, {"here": processes.start("here", [*here, path])}, PATIENCE_S)
        links = _links(bench)
        running = {
            device.name: processes.start(
                device.name,
                bench.caged(device, [*here, str(bench.folder / f"bench-{device.name}.json")]),
            )
            for device in bench.devices
        }
        wait_for(processes, running, PATIENCE_S)
    profiles = [_carry(bench, device) for device in bench.devices]
    table = _table(bench, links, examples)
    output = bench.folder / "fleet.json"
    with bench.processes("fleet") as processes:
        named = [word for path in profiles for word in ("--profile", str(path))]
        words = legend_command(
            "fleet",
            "--from",
            table,
            *named,
            "--local-steps",
            local_steps,
            "-o",
            output,
            "--json",
        )
        wait_for(processes, {"fleet": processes.start("fleet", words)}, PATIENCE_S)
    return output


def _links(bench: Bench) -> dict[str, Link]:
    """Measure every link from its device's end; all at once, as they share nothing."""
    found = {}
    with bench.processes("links") as processes:
        servers, clients = {}, {}
        for index, device in enumerate(bench.devices):
            address = f"{server_address(index)}:{PORT}"
            name = f"serve-{device.name}"
            command = bench.on_server(legend_command("profile", "--serve", address))
            servers[name] = processes.start(name, command)
            _await_line(processes.log(name), "waiting")
            out = bench.folder / f"link-{device.name}.json"
            words = legend_command("profile", "--network", address, "-o", out)
            clients[device.name] = processes.start(device.name, bench.on_device(device, words))
        wait_for(processes, clients, PATIENCE_S)
        wait_for(processes, servers, PATIENCE_S)
    for device in bench.devices:
        found[device.name] = read_network(bench.folder / f"link-{device.name}.json")
    return found


def _await_line(log: Path, text: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while text not in log.read_text("utf-8") and time.monotonic() < until:
        time.sleep(0.1)


def _carry(bench: Bench, device: Spec) -> Path:
    """Profile of a device, under its own name."""
    here, there = bench.folder / "bench-here.json", bench.folder / f"bench-{device.name}.json"
    # All devices are this machine; their classes need names of their own.
    benchmark = read_benchmark(there)
    write(there, replace(benchmark, device=replace(benchmark.device, name=device.name)))
    made = transfer_files(bench.folder / "here.json", here, there, str(bench.model))
    path = bench.folder / f"profile-{device.name}.json"
    write(path, made.profile)
    return path


def _table(bench: Bench, links: dict[str, Link], examples: int) -> Path:
    path = bench.folder / "devices.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(
            [
                "name",
                "class",
                "uplink_mbit_per_s",
                "downlink_mbit_per_s",
                "latency_s",
                "examples",
            ]
        )
        for device in bench.devices:
            link = links[device.name]
            speeds = (link.uplink_bytes_per_s, link.downlink_bytes_per_s)
            mbit = [speed / BYTES_PER_S_PER_MBIT for speed in speeds]
            rows.writerow([device.name, device.name, *mbit, link.latency_s, examples])
    return path


def solve(bench: Bench, fleet: Path, name: str, *words: object) -> Path:
    """Plan for the fleet; returns the plan's file."""
    path = bench.folder / f"plan-{name}.json"
    with bench.processes("solve") as processes:
        command = legend_command("solve", fleet, "-o", path, "--json", *words)
        wait_for(processes, {name: processes.start(name, command)}, PATIENCE_S)
    return path
