"""A testbed in a box: what a plan says, against what caged devices then do."""

import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.fetch import fetch_model, fetch_reviews
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure
from benchmarks.testbed.devices import DEVICES
from profiler.schema import InputError

if TYPE_CHECKING:
    from benchmarks.testbed.bench import Bench
    from benchmarks.testbed.memory import Trial

LOCAL_STEPS = 2
EXAMPLES, TESTS = 200, 400
ROUNDS, QUICK_ROUNDS = 6, 3
RANKS = "4,8"

PROTOCOL = f"""
{len(DEVICES)} devices on one machine: {
    ", ".join(f"{d.name} {d.quota_cores:g} cores and {d.mbit_per_s:g} Mb/s" for d in DEVICES)
}. Each has a network namespace with a cable to the server's (token bucket at either end) and a
control group for the CPU time of its training process; Flower's own processes on the device
(SuperNode, one process a message) are in the namespace but not under the quota, and what they
take is stated apart. The pretrained 6-layer BERT, LoRA on all linear modules, batch 16 x 64
tokens (reviews of one label joined until they fill it), one thread, {LOCAL_STEPS} local steps a
round, TLS and device keys. One profile on a free core, carried to each device by the ten-second
benchmark inside its cage; links measured through the cables. Plan: most utility a second
with ranks {
    RANKS
}; beside it uniform FedLoRA at rank 8 (fedlora-straggler), same steps. Both are
played with Flower; the first round loads models, is uncaged and is not counted. Training: by
the device's clock. Transfer: seconds in which the kernel's interface counters, read every
20 ms, show a link at a quarter of its speed or more. Round: the slowest device's training and
transfer; with Flower: the longest time from sending to taking an answer, by the server's
clock. Memory: one device of each configuration trains under a control group's limit at its
prediction (libraries and weights as charged once the model is loaded, plus what training is
predicted to add, plus 16 MiB), and again with one layer more.
"""


def measure(job: Job) -> list[Figure]:
    """Measure, plan, play, compare; leaves nothing behind."""
    _require()
    with _bench() as bench:
        from benchmarks.testbed.measuring import measure_fleet, solve
        from benchmarks.testbed.memory import try_memory
        from benchmarks.testbed.play import write_data

        job.say("measuring the devices in their cages")
        fleet = measure_fleet(bench, LOCAL_STEPS, EXAMPLES, quick=job.quick)
        ours = solve(bench, fleet, "ours", "--objective", "efficiency", "--ranks", RANKS)
        fedlora = solve(bench, fleet, "fedlora", "--policy", "fedlora-straggler")
        data = write_data(bench, EXAMPLES, TESTS)
        job.say("training under memory limits")
        trials = try_memory(bench, ours, data, quick=job.quick)
        figures = _played(job, bench, {"LEGEND": ours, "FedLoRA": fedlora}, data)
    return [*figures, *_memory_figures(trials)]


def _played(
    job: Job, bench: "Bench", plans: Mapping[str, Path], data: Mapping[str, Path]
) -> list[Figure]:
    from benchmarks.testbed.compare import Seen, plan_figures, seen_rounds, speedup_figures
    from benchmarks.testbed.play import play
    from solver.plan import read_plan

    rounds = QUICK_ROUNDS if job.quick else ROUNDS
    figures: list[Figure] = []
    seen: dict[str, list[dict[str, Seen]]] = {name: [] for name in plans}
    accuracy: dict[str, list[float]] = {name: [] for name in plans}
    for seed in range(job.seeds):
        for name, path in plans.items():
            job.say(f"{name}: {rounds} rounds, seed {seed}")
            played = play(bench, f"{name}-{seed}", path, data, rounds, seed)
            seen[name] += seen_rounds(played, bench.devices)
            accuracy[name].append(100 * played.accuracy_fraction)
            job.notes.extend(
                f"{name}, seed {seed}, left out: {line}" for line in played.refused
            )
    for name, path in plans.items():
        figures += plan_figures(name, read_plan(path), seen[name])
        figures.append(
            figure(f"accuracy after {rounds} rounds", accuracy[name], "%", setting=name)
        )
    return [*figures, *speedup_figures(seen["LEGEND"], seen["FedLoRA"])]


def _memory_figures(trials: Sequence["Trial"]) -> list[Figure]:
    planned = [float(t.killed) for t in trials if t.depth == t.planned_depth]
    more = [float(t.killed) for t in trials if t.depth > t.planned_depth]
    figures = [
        figure("killed as planned", planned, "1", setting="memory limit at the prediction",
               target=0.0, judged="worst")
    ]  # fmt: skip
    if more:
        figures.append(
            figure("killed with one layer more", more, "1", target=1.0, better="high",
                   setting="the same limit", judged="worst")
        )  # fmt: skip
    return figures


def _require() -> None:
    """Raise `InputError` where the testbed cannot be built."""
    from benchmarks.testbed.cage import groups_fit
    from benchmarks.testbed.network import can_shape

    missing = can_shape() or ("" if groups_fit() else "Linux control groups (cpu and memory)")
    if missing:
        raise InputError(f"skipped: the testbed needs {missing}")
    if find_spec("flwr") is None:
        raise InputError(
            "skipped: the testbed needs Flower: pip install 'legend-planner[flower]'"
        )


@contextmanager
def _bench() -> Iterator["Bench"]:
    """The testbed; everything made for it is gone afterwards."""
    from benchmarks.testbed.bench import Bench
    from benchmarks.testbed.cage import PREFIX, Cage, sweep
    from benchmarks.testbed.made import own_name
    from benchmarks.testbed.network import Network

    model, reviews = fetch_model(), fetch_reviews()
    sweep()
    with ExitStack() as stack:
        stack.enter_context(_terminated())
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="legend-testbed-"))
        )
        network = stack.enter_context(Network(DEVICES))
        cages = {
            device.name: stack.enter_context(
                Cage(own_name(PREFIX, device.name), quota_cores=device.quota_cores)
            )
            for device in DEVICES
        }
        yield Bench(network, cages, DEVICES, model, reviews, folder)


@contextmanager
def _terminated() -> Iterator[None]:
    """Let SIGTERM end this process as Ctrl-C does, with everything removed."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


CASE = Case(
    name="testbed",
    summary="Do real devices, caged on one machine, take what their plan says?",
    protocol=PROTOCOL,
    seeds=1,
    quick_seeds=1,
    measure=measure,
)
