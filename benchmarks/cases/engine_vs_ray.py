"""A round over simulated devices: on our engine, and on Flower's Ray simulation."""

import itertools
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from benchmarks.child import TimedOut, in_child
from benchmarks.fetch import fetch_model, fetch_reviews
from benchmarks.learning.command import legend
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure
from profiler.schema import InputError, read_fleet, write
from solver import Problem, read_plan, solve

DEVICES, FEW = 80, 8
STEPS, BATCH_SIZE = 6, 8
ROUNDS = 2
TARGET_RATIO, TARGET_GROWTH = 10.0, 1.1
TIMEOUT_S = 1500.0
THREADS, FEWER, WORKERS, RAY = "in-process", "in-process, few", "with workers", "Ray"
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_OFFLINE": "1",
    "OMP_WAIT_POLICY": "passive",
}

PROTOCOL = f"""
The pretrained 6-layer BERT and the movie reviews of the demonstration; a plan of most utility a
second for the paper-80 fleet; every device is asked in every round and trains {STEPS} steps of
{BATCH_SIZE} texts of at most 64 tokens. {ROUNDS} rounds under the same seed in a process of its
own: the in-process engine, with as many threads as torch takes; the same with a forked worker
of one thread on every core (`legend run --workers`); Flower's simulation on Ray, whose
ServerApp and ClientApp are those of the Flower engine and load model and data for each message,
as Flower's templates do, with a client of one thread on every core.
Wall seconds are those of the last
round; CPU seconds are those of the process and all it started, over both rounds and the start;
memory is the largest sum of proportional set sizes over them, seen every 0.2 s. Ratios are of
Ray over our engine with workers and without. Growth: peak of the in-process engine with all
devices over that with a tenth of them.
"""


def measure(job: Job) -> list[Figure]:
    """Play the rounds on every engine."""
    if find_spec("flwr") is None or find_spec("ray") is None:
        raise InputError(
            "engine-vs-ray needs Flower and Ray; get them with: pip install 'flwr[simulation]'"
        )
    count = FEW if job.quick else DEVICES
    few, cores = max(count // 10, 2), len(os.sched_getaffinity(0))
    # A client or worker a core; more threads would only compete.
    one = {"OMP_NUM_THREADS": "1"}
    runs: tuple[tuple[str, Callable[..., object], dict[str, int], dict[str, str]], ...] = (
        (THREADS, in_process, {"devices": count, "workers": 1}, {}),
        (FEWER, in_process, {"devices": few, "workers": 1}, {}),
        (WORKERS, in_process, {"devices": count, "workers": cores}, one),
        (RAY, on_ray, {"devices": count}, one),
    )
    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(job.seeds):
        for name, function, arguments, threads in runs:
            job.say(f"{name}, {arguments['devices']} devices, seed {seed}")
            try:
                run = in_child(
                    function,
                    {**arguments, "seed": seed},
                    timeout_s=TIMEOUT_S,
                    environment=QUIET | threads,
                )
            except TimedOut:
                job.notes.append(f"{name}, seed {seed}: killed after {TIMEOUT_S:.0f} s")
                continue
            found.setdefault(name, []).append(run)
    return _figures(found, count)


def _figures(found: Mapping[str, list[dict[str, float]]], count: int) -> list[Figure]:
    figures = []
    for name, runs in found.items():
        setting = f"{name}, {runs[0]['devices']:.0f} devices"
        for key, unit in (("last round", "s"), ("CPU time", "s"), ("peak memory", "MB")):
            figures.append(figure(key, [run[key] for run in runs], unit, setting=setting))
    growth = [
        a["peak memory"] / b["peak memory"]
        for a, b in zip(found[THREADS], found[FEWER], strict=True)
    ]
    figures.append(
        figure("peak memory, all over few", growth, "1", setting=f"{count} devices",
               target=TARGET_GROWTH)
    )  # fmt: skip
    for ours, key in itertools.product((WORKERS, THREADS), ("last round", "CPU time")):
        pairs = zip(found[ours], found.get(RAY, []), strict=False)
        ratios = [b[key] / a[key] for a, b in pairs]
        if ratios:
            target = TARGET_RATIO if (ours, key) == (WORKERS, "last round") else None
            figures.append(
                figure(f"{key}, Ray over {ours}", ratios, "1", setting=f"{count} devices",
                       target=target, better="high")
            )  # fmt: skip
    return figures


def in_process(devices: int, seed: int, workers: int) -> dict[str, float]:
    """Rounds of the in-process engine."""
    with _prepared(devices, seed, workers) as (inputs, options, folder):
        from finetune.run import run

        return _watched(
            lambda: run(inputs[0], inputs[1], folder / "run", options, progress=_clock()),
            devices,
        )


def on_ray(devices: int, seed: int) -> dict[str, float]:
    """Rounds of Flower's simulation on Ray."""
    import warnings

    warnings.simplefilter("ignore")
    with _prepared(devices, seed) as (inputs, options, folder):
        from flwr.serverapp import ServerApp
        from flwr.simulation import run_simulation

        from benchmarks.ray_apps import client_app, play
        from finetune.flower.shares import write_shares

        plan_path, sources = inputs
        plan = read_plan(plan_path)
        files = write_shares(plan, sources.data, sources.test, options, folder / "data")
        clock, server = _clock(), ServerApp()
        server.main()(
            lambda grid, context: play(
                grid,
                plan_path,
                sources,
                folder / "run",
                options,
                needed=list(files),
                progress=clock,
            )
        )
        client = client_app(sources.model, files)
        backend = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}

        def simulate() -> None:
            run_simulation(server, client, num_supernodes=len(files), backend_config=backend)

        return _watched(simulate, devices)


ROUND_ENDS: list[float] = []


def _clock() -> Any:
    from finetune.monitor.metrics import RoundMetrics
    from finetune.monitor.progress import Progress

    class Clock(Progress):
        """Notes when rounds begin and end."""

        def start(self, options: object, done: int, devices: int) -> None:
            ROUND_ENDS.append(time.perf_counter())

        def finished(self, row: RoundMetrics) -> None:
            if row.refused:
                raise InputError(f"round {row.round}: {row.refused[0].reason}")
            ROUND_ENDS.append(time.perf_counter())

    return Clock()


@contextmanager
def _prepared(
    devices: int, seed: int, workers: int = 1
) -> Iterator[tuple[tuple[Path, Any], Any, Path]]:
    """Plan, sources, options and a scratch folder."""
    from finetune.options import RunOptions
    from finetune.run import Sources

    model = fetch_model()
    folder = Path(tempfile.mkdtemp(prefix="legend-ray-"))
    try:
        legend(
            "fleet", "paper-80", "--model", model, "--seed", seed, "--batch-size", BATCH_SIZE,
            "--sequence-length", 64, "--local-steps", STEPS, "-o", folder / "fleet.json",
        )  # fmt: skip
        fleet = read_fleet(folder / "fleet.json")
        cut = replace(fleet, devices=fleet.devices[:devices])
        question = Problem.of(cut, policy="exact", objective="efficiency", min_utility=0.9)
        write(folder / "plan.json", solve(question))
        options = RunOptions(
            rounds=ROUNDS,
            sample=devices,
            seed=seed,
            eval_every=ROUNDS,
            max_test=64,
            workers=workers,
        )
        sources = Sources(model, fetch_reviews())
        yield (folder / "plan.json", sources), options, folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _watched(work: Callable[[], object], devices: int) -> dict[str, float]:
    """Do the work; wall of the last round, CPU and peak memory of all processes."""
    import psutil

    own, done = psutil.Process(), threading.Event()
    peak, spent = [0.0], {}

    def watch() -> None:
        while not done.wait(0.2):
            total = 0.0
            for process in [own, *own.children(recursive=True)]:
                try:
                    total += process.memory_full_info().pss
                    times = process.cpu_times()
                    spent[process.pid] = times.user + times.system
                except psutil.Error:
                    continue
            peak[0] = max(peak[0], total)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        work()
    finally:
        done.set()
        thread.join()
    spent[os.getpid()] = sum(os.times()[:2])
    return {
        "devices": float(devices),
        "last round": ROUND_ENDS[-1] - ROUND_ENDS[-2],
        "CPU time": sum(spent.values()),
        "peak memory": peak[0] / 1e6,
    }


CASE = Case(
    name="engine-vs-ray",
    summary="How much faster is a round on our engine than on Flower's Ray simulation?",
    shortfall=(
        "Training dominates: what the engine saves is all that is not training, and Ray "
        "trains a client a core as well."
    ),
    protocol=PROTOCOL,
    seeds=3,
    quick_seeds=1,
    measure=measure,
)
