"""Costs per rank out of proportion to the layers' sizes: what gap, how fast."""

from typing import Any

from benchmarks.child import in_child
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure

DEVICES = 1000
RANKS = range(1, 66)
NOISE = 0.1
TARGET_S, TARGET_GAP = 10.0, 1e-3
# Name and layers.
INSTANCES = (("paper-80", 12), ("llama-2-7b", 32))

PROTOCOL = f"""
{DEVICES} devices of preset paper-80 (12 layers) and of two server classes that train Llama-2-7B
(32 layers, as in dp-scale), ranks 1 to 65 shared, utility maximised at 1.5 times the least
feasible round time. Every slope by rank of every class, of time and of the three memory
phases, is multiplied by 1 + {NOISE} u, u uniform in [-1, 1], drawn anew by class, layer and
quantity: no costs are in proportion to the sizes. Every seed has a fresh process with
one thread, where a few devices are planned first. Seconds are those of `maximise_utility`.
"""


def measure(job: Job) -> list[Figure]:
    """Plan for every model and seed."""
    figures = []
    for name, layers in INSTANCES[:1] if job.quick else INSTANCES:
        runs = []
        for seed in range(job.seeds):
            job.say(f"seed {seed}: {name}")
            arguments = {"name": name, "seed": seed}
            runs.append(in_child(plan, arguments, environment={"OMP_NUM_THREADS": "1"}))
        setting = f"{DEVICES} devices x {layers} layers x {len(RANKS)} ranks, noise {NOISE:.0%}"
        figures += [
            figure("planning time", [run["wall_s"] for run in runs], "s", setting=setting),
            figure(
                "CPU time", [run["cpu_s"] for run in runs], "s",
                setting=setting, target=TARGET_S,
            ),
            figure(
                "gap to the bound", [run["gap_fraction"] for run in runs], "1",
                setting=setting, target=TARGET_GAP, judged="worst",
            ),
        ]  # fmt: skip
    return figures


def plan(name: str, seed: int) -> dict[str, float]:
    """Pose and solve one problem; runs in a process of its own."""
    import time

    from solver.exact import maximise_utility
    from solver.outcome import relative_gap

    maximise_utility(_problem(name, 3, seed))
    problem = _problem(name, DEVICES, seed)
    wall, cpu = time.perf_counter(), time.process_time()
    outcome = maximise_utility(problem)
    return {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "gap_fraction": relative_gap(outcome.value, outcome.bound or 0.0, "utility"),
    }


def _problem(name: str, devices: int, seed: int) -> Any:
    import numpy as np

    from benchmarks.cases.dp_scale import instance
    from benchmarks.instances import ROOM, paper_80_fleet
    from solver.least import least_round_time_s
    from solver.problem import Problem

    rows = None
    if name == "paper-80":
        fleet = paper_80_fleet(seed, devices=devices)
    else:
        fleet, rows, _ = instance(devices, seed)
    fleet = _noisy(fleet, np.random.default_rng([seed, 1]))
    patient = Problem.of(fleet, ranks=RANKS, devices=rows)
    least_s = least_round_time_s(patient)
    assert least_s is not None
    return patient.under(round_time_s=ROOM * least_s)


def _noisy(fleet: Any, rng: Any) -> Any:
    from msgspec.structs import replace

    def noisy(slopes: list[float]) -> list[float]:
        return [slope * (1 + NOISE * float(u)) for slope, u in zip(
            slopes, rng.uniform(-1, 1, len(slopes)), strict=True
        )]  # fmt: skip

    def phase(cost: Any) -> Any:
        return replace(cost, per_rank=noisy(cost.per_rank))

    classes = []
    for each in fleet.classes:
        phases = ("forward_bytes", "backward_bytes", "optimizer_bytes")
        memory = replace(each.memory, **{p: phase(getattr(each.memory, p)) for p in phases})
        time = replace(each.time, lora_s_per_rank=noisy(each.time.lora_s_per_rank))
        classes.append(replace(each, memory=memory, time=time))
    return replace(fleet, classes=classes)


CASE = Case(
    name="general-slopes",
    summary="How close to the optimum are plans where costs are out of proportion?",
    protocol=PROTOCOL,
    seeds=10,
    quick_seeds=3,
    measure=measure,
)
