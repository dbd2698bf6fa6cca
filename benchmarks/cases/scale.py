"""Planning from ten devices to ten million, and from 6 layers to 80: how time grows."""

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.cases.dp_scale import MODEL, plan
from benchmarks.child import in_child
from benchmarks.instances import paper_80_fleet
from benchmarks.learning.command import legend
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure
from profiler.schema import write

DEVICES, QUICK_DEVICES = tuple(10**k for k in range(1, 8)), (10, 10**3, 10**5)
MODELS = {
    "distilbert-base-uncased": 6,
    "roberta-base": 12,
    "roberta-large": 24,
    MODEL: 32,
    "llama-3-70b": 80,
}
AT_DEVICES = 1000
FLEETS, QUICK_FLEETS = (80, 1000, 10000), (80, 1000)
# Below this a pass over the devices is lost in what every plan costs.
FITTED_FROM = 10**5

PROTOCOL = f"""
Planning as in dp-scale (arrays to proven plan, one fresh process each): {DEVICES[0]} to
{DEVICES[-1]:,} devices on {MODEL}; and {AT_DEVICES} devices on models of
{", ".join(map(str, MODELS.values()))} layers. Growth is the slope of log seconds over log size,
for devices from {FITTED_FROM:,} up (in the quick form over all). Re-planning: `legend solve
FLEET --like PLAN -o NEW` on paper-80 with {", ".join(map(str, FLEETS))} devices listed one by
one, whole command from start to file, wall clock.
"""


def measure(job: Job) -> list[Figure]:
    """Plan at every size, model and seed, alternating."""
    sizes = QUICK_DEVICES if job.quick else DEVICES
    fleets = QUICK_FLEETS if job.quick else FLEETS
    by_size: dict[int, list[float]] = {size: [] for size in sizes}
    by_model: dict[str, list[float]] = {model: [] for model in MODELS}
    again: dict[int, list[float]] = {size: [] for size in fleets}
    for seed in range(job.seeds):
        job.say(f"seed {seed}")
        for size in sizes:
            by_size[size].append(_seconds(size, seed, MODEL))
        for model in MODELS:
            by_model[model].append(_seconds(AT_DEVICES, seed, model))
        for size in fleets:
            again[size].append(_replan_s(size, seed))
    fitted = [size for size in sizes if job.quick or size >= FITTED_FROM]
    layers = list(MODELS.values())
    return [
        *(
            figure(
                "planning time", values, "s",
                setting=f"{size:.0e} devices".replace("e+0", "e"),
            )
            for size, values in by_size.items()
        ),
        figure(
            "growth with devices", _slopes(fitted, [by_size[size] for size in fitted]), "1",
            setting="exponent",
        ),
        *(
            figure("planning time", values, "s", setting=f"{model}, {MODELS[model]} layers")
            for model, values in by_model.items()
        ),
        figure(
            "growth with layers", _slopes(layers, list(by_model.values())), "1",
            setting="exponent",
        ),
        *(
            figure(
                "re-planning, whole command", values, "s",
                setting=f"paper-80, {size} devices",
            )
            for size, values in again.items()
        ),
    ]  # fmt: skip


def _seconds(devices: int, seed: int, model: str) -> float:
    arguments = {"devices": devices, "seed": seed, "model": model}
    return float(in_child(plan, arguments)["seconds"])


def _slopes(sizes: Sequence[int], values: Sequence[Sequence[float]]) -> list[float]:
    """Slope of log value over log size, one a seed."""
    table = np.log(np.array(values))
    return [float(np.polyfit(np.log(sizes), column, 1)[0]) for column in table.T]


def _replan_s(devices: int, seed: int) -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fleet, first, second = (folder / n for n in ("fleet.json", "plan.json", "new.json"))
        write(fleet, paper_80_fleet(seed, devices=devices))
        budget_s = (
            2
            * json.loads(
                legend("solve", fleet, "--objective", "time", "--min-utility", 0.3, "--json")
            )["predicted"]["round_time_s"]
        )
        legend("solve", fleet, "--round-time", budget_s, "-o", first)
        began = time.perf_counter()
        legend("solve", fleet, "--like", first, "-o", second)
        return time.perf_counter() - began


CASE = Case(
    name="scale",
    summary="How does planning grow with devices and layers, and how fast is it done again?",
    protocol=PROTOCOL,
    seeds=3,
    quick_seeds=1,
    measure=measure,
)
