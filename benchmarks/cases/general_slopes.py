"""Costs per rank out of proportion to the layers' sizes: what gap, how fast."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.child import in_child
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure

if TYPE_CHECKING:
    from solver.plan import Structure
    from solver.problem import Problem

DEVICES, ROWS = 1000, 60
NOISE = 0.1
TARGET_S, TARGET_GAP = 10.0, 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """Devices, and what is asked.

    Attributes
    ----------
    name : str
        Where the fleet comes from, see `PROTOCOL`.
    size : str
        Of it, in words.
    own : bool
        Whether every device has ranks of its own; else they are shared.
    wait : float, optional
        Budget on the mean wait, as a share of what the plan without one waits.
    quick : bool
        Whether it is part of the quick form.
    """

    name: str
    size: str
    own: bool = False
    wait: float | None = None
    quick: bool = False

    @property
    def setting(self) -> str:
        """What is asked, in words."""
        whose = ", own ranks" if self.own else ""
        waiting = "" if self.wait is None else f", {self.wait:g} of the wait"
        return f"{self.size}{whose}, noise {NOISE:.0%}{waiting}"


PAPER = f"{DEVICES} devices x 12 layers x 65 ranks"
LLAMA = f"{DEVICES} devices x 32 layers x 65 ranks"
RANDOM = f"random fleet, {ROWS} rows x 12 layers x 32 ranks"
INSTANCES = (
    Instance(name="paper-80", size=PAPER, quick=True),
    Instance(name="llama-2-7b", size=LLAMA),
    Instance(name="paper-80", size=PAPER, wait=0.9, quick=True),
    Instance(name="paper-80", size=PAPER, wait=0.6),
    Instance(name="llama-2-7b", size=LLAMA, wait=0.9),
    Instance(name="random", size=RANDOM, wait=0.9, quick=True),
    Instance(name="random", size=RANDOM, wait=0.6),
    Instance(name="paper-80", size=PAPER, own=True),
    Instance(name="random", size=RANDOM, own=True, quick=True),
    Instance(name="random", size=RANDOM, own=True, wait=0.9),
)

PROTOCOL = f"""
{DEVICES} devices of preset paper-80 (12 layers), of two server classes that train Llama-2-7B
(32 layers, as in dp-scale), and {ROWS} rows of `solver.random_fleet`, drawn again until each
can train a layer; ranks 1 to 65 (random: 32), utility maximised at 1.5 times the least feasible
round time. Every slope by rank of every class, of time and of the three memory phases, is
multiplied by 1 + {NOISE} u, u uniform in [-1, 1], drawn anew by class, layer and
quantity: no costs are in proportion to the sizes. A mean wait is a share of what the plan
without one waits; where it is proven that no plan keeps it, the gap is 0, where that is not
proven, 1. Every seed has a fresh process with one thread, where a few devices are planned
first. Seconds are those of `maximise_utility`.
"""


def measure(job: Job) -> list[Figure]:
    """Plan for every instance and seed."""
    figures = []
    for instance in INSTANCES:
        if job.quick and not instance.quick:
            continue
        runs = []
        for seed in range(job.seeds):
            job.say(f"seed {seed}: {instance.setting}")
            arguments = {
                "name": instance.name,
                "own": instance.own,
                "wait": instance.wait,
                "seed": seed,
            }
            runs.append(in_child(plan, arguments, environment={"OMP_NUM_THREADS": "1"}))
        setting = instance.setting
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


def plan(name: str, own: bool, wait: float | None, seed: int) -> dict[str, float]:
    """Pose and solve one problem; runs in a process of its own."""
    import time

    from solver.allocation import mean_wait_s
    from solver.errors import Infeasible
    from solver.exact import maximise_utility
    from solver.outcome import relative_gap

    maximise_utility(_problem(name, 3, seed, own=own))
    problem = _problem(name, DEVICES, seed, own=own)
    if wait is not None:
        free = maximise_utility(problem)
        problem = problem.under(mean_wait_s=wait * mean_wait_s(problem, free.allocation))
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        outcome = maximise_utility(problem)
        gap = relative_gap(outcome.value, outcome.bound or 0.0, "utility")
    except Infeasible as error:
        gap = 0.0 if error.proven else 1.0
    return {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "gap_fraction": gap,
    }


def _problem(name: str, devices: int, seed: int, *, own: bool = False) -> "Problem":
    import numpy as np

    from benchmarks.cases.dp_scale import instance
    from benchmarks.instances import ROOM, paper_80_fleet
    from solver.least import least_round_time_s
    from solver.problem import Problem

    structure: Structure = "own" if own else "shared"
    if name == "random":
        patient, least_s = _random(min(devices, ROWS), seed, structure)
        return patient.under(round_time_s=ROOM * least_s)
    rows = None
    if name == "paper-80":
        fleet = paper_80_fleet(seed, devices=devices)
    else:
        fleet, rows, _ = instance(devices, seed)
    fleet = _noisy(fleet, np.random.default_rng([seed, 1]))
    patient = Problem.of(fleet, ranks=range(1, 66), devices=rows, structure=structure)
    least = least_round_time_s(patient)
    assert least is not None
    return patient.under(round_time_s=ROOM * least)


def _random(rows: int, seed: int, structure: "Structure") -> tuple["Problem", float]:
    """Random fleet on which everybody can train a layer, and its least round time."""
    from itertools import count

    from solver import Problem, random_fleet
    from solver.least import least_round_time_s

    for again in count():
        fleet = random_fleet(
            seed + 1000 * again, layers=12, classes=5, devices=rows, max_rank=32,
            slope_noise=NOISE,
        )  # fmt: skip
        patient = Problem.of(fleet, structure=structure)
        least_s = least_round_time_s(patient)
        if least_s is not None:
            return patient, least_s
    raise AssertionError


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
    shortfall=(
        "Open. Both on small random fleets: with shared ranks the worst of ten seeds misses "
        "it, with ranks of their own all do."
    ),
    protocol=PROTOCOL,
    seeds=10,
    quick_seeds=3,
    measure=measure,
)
