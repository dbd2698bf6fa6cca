"""Play a plan on the testbed with Flower, as docs/flower.md deploys it: TLS, keys, a gate."""

import csv
import json
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil

from benchmarks.testbed.bench import Bench, legend_command, wait_for
from benchmarks.testbed.counters import Sample, read_samples
from benchmarks.testbed.network import CABLE, server_address
from finetune.child import module_command
from finetune.flower.processes import Processes, last_line
from profiler.schema import InputError

__all__ = ["Played", "Reported", "joined", "play", "write_data"]

PORT = 9092
POLL_S = 0.05
START_S = 300.0
ROUND_S = 150.0
LEARNING_RATE = 2e-3
# Of a text that fills 64 tokens.
WORDS = 64
WORKER = "finetune.flower.worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What a round of a device took.

    Parameters
    ----------
    round : int
        From 1.
    device : str
    train_s : float
        Training, by the device's clock.
    load_s : float
        Loading model and data, by the device's clock; in the first round only.
    round_trip_s : float
        From sending to taking the answer, by the server's clock.
    """

    round: int
    device: str
    train_s: float
    load_s: float
    round_trip_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A run: reports, when each round began and ended, what the kernel counted.

    Parameters
    ----------
    reports : list of Reported
    spans : list of (float, float)
        Beginning and end of each round by the monotonic clock.
    samples : list of Sample
    accuracy_fraction : float
        Of the adapter after the last round.
    refused : list of str
        Updates left out, with the reason.
    """

    reports: list[Reported]
    spans: list[tuple[float, float]]
    samples: list[Sample]
    accuracy_fraction: float
    refused: list[str]


def write_data(bench: Bench, examples: int, tests: int) -> dict[str, Path]:
    """Give every device its own texts, and the server some for testing.

    Short reviews of one label are joined until a text fills the sequence: a batch is padded to
    its longest text only, and the profile is for full ones.
    """
    with bench.data.open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
    texts = joined(rows, WORDS, seed=0)
    files = {}
    for name in (*(device.name for device in bench.devices), "test"):
        count = tests if name == "test" else examples
        own, texts = texts[:count], texts[count:]
        files[name] = bench.folder / f"reviews-{name}.csv"
        with files[name].open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *own])
    return files


def joined(rows: Sequence[Sequence[str]], words: int, seed: int) -> list[tuple[str, str]]:
    """Join rows of text and label, of one label each, to texts of at least so many words."""
    order = random.Random(seed)
    shuffled = order.sample(list(rows), len(rows))
    found, parts = [], dict[str, list[str]]()
    for text, label in shuffled:
        part = parts.setdefault(label, [])
        part.append(text)
        if sum(len(one.split()) for one in part) >= words:
            found.append((" ".join(part), label))
            part.clear()
    return found


def play(
    bench: Bench, name: str, plan: Path, data: Mapping[str, Path], rounds: int, seed: int
) -> Played:
    """Play the rounds of a plan.

    Raises
    ------
    InputError
        If the run fails, or takes longer than it may.
    """
    out, keys = bench.folder / name, bench.folder / f"keys-{name}"
    counted = bench.folder / f"counters-{name}.txt"
    with bench.processes(name) as processes:
        addresses = [server_address(index) for index in range(len(bench.devices))]
        hosts = [word for address in addresses for word in ("--host", address)]
        words = module_command("finetune.flower.keys", str(keys), "--plan", str(plan), *hosts)
        wait_for(processes, {"keys": processes.start("keys", words)}, START_S)
        cables = [CABLE.format(index=index) for index in range(len(bench.devices))]
        counter = module_command("benchmarks.testbed.counters", str(counted), *cables)
        processes.start("counters", bench.on_server(counter))
        command = legend_command(
            "run", plan, "--model", bench.model, "--data", data["test"], "-o", out,
            "--engine", "flower", "--superlink", f"0.0.0.0:{PORT}", "--tls", keys / "tls",
            "--node-keys", keys / "nodes", "--wait-s", START_S, "--deadline-slack", 0,
            "--rounds", rounds, "--eval-every", rounds, "--partition", "iid",
            "--learning-rate", LEARNING_RATE, "--seed", seed, "--json",
        )  # fmt: skip
        run = processes.start("run", bench.on_server(command))
        _start_nodes(bench, processes, data, keys)
        spans = _watch(bench, processes, run, out / "flower", rounds)
    return Played(
        reports=_reports(out / "flower" / "nodes.jsonl"),
        spans=spans,
        samples=read_samples(counted),
        accuracy_fraction=json.loads((out / "summary.json").read_text("utf-8"))[
            "final_accuracy"
        ],
        refused=_refused(out / "metrics.jsonl"),
    )


def _start_nodes(
    bench: Bench, processes: Processes, data: Mapping[str, Path], keys: Path
) -> None:
    program = str(Path(sys.executable).parent / "flower-supernode")
    for index, device in enumerate(bench.devices):
        config = {
            "device": device.name,
            "model": str(bench.model),
            "data": str(data[device.name]),
        }
        command = [
            program, "--superlink", f"{server_address(index)}:{PORT}",
            "--root-certificates", str(keys / "tls" / "ca.crt"),
            "--auth-supernode-private-key", str(keys / "nodes" / f"{device.name}.key"),
            "--node-config", " ".join(f"{k}={json.dumps(v)}" for k, v in config.items()),
        ]  # fmt: skip
        processes.start(f"node-{device.name}", bench.on_device(device, command))


def _watch(
    bench: Bench,
    processes: Processes,
    run: "subprocess.Popen[bytes]",
    folder: Path,
    rounds: int,
) -> list[tuple[float, float]]:
    """Cage the workers once they are loaded, and note when rounds begin and end."""
    until = time.monotonic() + START_S + rounds * ROUND_S
    caged: set[int] = set()
    marks: list[float] = []
    seen = 0
    while run.poll() is None:
        kinds = _kinds(folder / "events.jsonl")
        marks += [time.monotonic()] * sum(k in ("start", "finished") for k in kinds[seen:])
        seen = len(kinds)
        # Two marks: the first round, in which libraries and models are loaded, is over.
        if len(marks) > 1 and len(caged) < len(bench.devices):
            _cage_workers(bench, processes.mark, caged)
        if time.monotonic() > until:
            raise InputError(f"the run is not done after {rounds} rounds of {ROUND_S:.0f} s")
        time.sleep(POLL_S)
    kinds = _kinds(folder / "events.jsonl")
    marks += [time.monotonic()] * sum(k in ("start", "finished") for k in kinds[seen:])
    if run.returncode:
        raise InputError(f"the run failed: {last_line(processes.log('run'))}")
    return list(pairwise(marks))


def _cage_workers(bench: Bench, mark: str, caged: set[int]) -> None:
    """Move every worker of ours into the cage of its device."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if WORKER not in words or process.pid in caged:
            continue
        try:
            ours = process.environ().get("LEGEND_FEDERATION") == mark
        except psutil.Error:
            continue
        device = words[words.index(WORKER) + 3]
        if ours and device in bench.cages:
            bench.cages[device].take(process.pid)
            caged.add(process.pid)


def _kinds(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError:
        return []
    return [line.split('"', 4)[3] for line in lines if line.endswith("}")]


def _reports(path: Path) -> list[Reported]:
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    names = ("round", "device", "train_s", "load_s", "round_trip_s")
    return [Reported(**{name: row[name] for name in names}) for row in rows]


def _refused(path: Path) -> list[str]:
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [f"{r['device']}: {r['reason']}" for row in rows for r in row["refused"]]
