"""Costs out of proportion to the layers' sizes: how close the bound comes, and how fast."""

import time

import numpy as np
from msgspec.structs import replace

from benchmarks.instances import ROOM, paper_80_fleet
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure
from profiler.schema import DeviceClass, Fleet

DEVICES, RANKS = 1000, range(1, 66)
NOISE = 0.1
TARGET_GAP, TARGET_S = 1e-3, 10.0

PROTOCOL = f"""
`solver.exact.maximise_utility` on the preset fleet paper-80 with {DEVICES} devices (12 layers,
ranks 1 to 65 shared, {ROOM} times the least feasible round time), where every slope per rank of
every class (seconds, and bytes in each phase of memory) is multiplied by its own factor, drawn
uniformly within {NOISE:.0%} by the seed. One fleet a seed, in one process after one small plan
that loads the modules. The gap is between the plan's utility and the bound proven for it,
relative to the bound. CPU seconds are those of the process, wall seconds those of the clock.
"""


def measure(job: Job) -> list[Figure]:
    """Plan for every seed."""
    _plan(0, 80, RANKS[:4])
    runs = []
    for seed in range(job.seeds):
        job.say(f"seed {seed}")
        runs.append(_plan(seed, DEVICES, RANKS))
    setting = f"{DEVICES} devices x 12 layers x 65 ranks, {NOISE:.0%} noise on whole slopes"

    def every(name: str) -> list[float]:
        return [run[name] for run in runs]

    return [
        figure(
            "gap to the bound", every("gap"), "1",
            setting=setting, target=TARGET_GAP, judged="worst",
        ),
        figure("CPU seconds", every("cpu"), "s", setting=setting, target=TARGET_S),
        figure("wall seconds", every("wall"), "s", setting=setting),
    ]  # fmt: skip


def _plan(seed: int, devices: int, ranks: range) -> dict[str, float]:
    from solver.exact import maximise_utility
    from solver.explain import least_round_time_s
    from solver.outcome import relative_gap
    from solver.problem import Problem

    patient = Problem.of(noisy_fleet(seed, devices), ranks=ranks)
    least_s = least_round_time_s(patient)
    assert least_s is not None
    problem = patient.under(round_time_s=ROOM * least_s)
    cpu, wall = time.process_time(), time.perf_counter()
    outcome = maximise_utility(problem)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert outcome.bound is not None
    return {
        "gap": relative_gap(outcome.value, outcome.bound, "utility"),
        "cpu": cpu,
        "wall": wall,
    }


def noisy_fleet(seed: int, devices: int) -> Fleet:
    """The preset fleet with noise on every slope per rank."""
    rng = np.random.default_rng(seed)
    fleet = paper_80_fleet(seed, devices=devices)

    def shaken(slopes: list[float]) -> list[float]:
        factors = 1 + NOISE * rng.uniform(-1, 1, len(slopes))
        return [float(v) for v in np.array(slopes) * factors]

    def of(one: DeviceClass) -> DeviceClass:
        memory = one.memory
        phases = ("forward_bytes", "backward_bytes", "optimizer_bytes")
        changed = {
            name: replace(phase, per_rank=shaken(phase.per_rank))
            for name in phases
            for phase in [getattr(memory, name)]
        }
        time_s = replace(one.time, lora_s_per_rank=shaken(one.time.lora_s_per_rank))
        return replace(one, time=time_s, memory=replace(memory, **changed))

    return replace(fleet, classes=[of(one) for one in fleet.classes])


CASE = Case(
    name="slopes",
    summary="How near the optimum are plans where costs are out of proportion to the layers?",
    protocol=PROTOCOL,
    seeds=10,
    quick_seeds=3,
    measure=measure,
)
