"""Planning from ten devices to ten million, and from 6 layers to 80: how time grows."""

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks.cases.dp_scale import MODEL, plan
from benchmarks.child import in_child
from benchmarks.fits import FITTED_FROM, exponents, fitted_sizes
from benchmarks.instances import paper_80_fleet
from benchmarks.learning.command import legend
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure
from profiler.schema import write

T = TypeVar("T")
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

PROTOCOL = f"""
Planning as in dp-scale (arrays to proven plan, one fresh process each): {DEVICES[0]} to
{DEVICES[-1]:,} devices on {MODEL}; and {AT_DEVICES} devices on models of
{", ".join(map(str, MODELS.values()))} layers. An exponent x says that seconds grow as size to
the x; it is the slope of log seconds over log size, fitted for every seed, for devices from
{FITTED_FROM:,} up (in the quick form over all). Re-planning: `legend solve FLEET --like PLAN
-o NEW` on paper-80 with {", ".join(map(str, FLEETS))} devices listed one by one, whole command
from start to file, wall clock.
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
    return [
        *_figures("planning time", by_size, _devices),
        _growth("devices", by_size),
        *_figures("planning time", by_model, lambda model: f"{model}, {MODELS[model]} layers"),
        _growth("layers", {MODELS[model]: values for model, values in by_model.items()}),
        *_figures("re-planning, whole command", again, lambda n: f"paper-80, {n} devices"),
    ]


def _devices(size: int) -> str:
    return f"{size:.0e} devices".replace("e+0", "e")


def _figures(
    name: str, found: Mapping[T, Sequence[float]], setting: Callable[[T], str]
) -> list[Figure]:
    return [figure(name, values, "s", setting=setting(key)) for key, values in found.items()]


def _growth(over: str, found: Mapping[int, Sequence[float]]) -> Figure:
    """Exponents of seconds over a size, one a seed."""
    sizes = fitted_sizes(list(found))
    values = exponents(sizes, [found[int(size)] for size in sizes])
    setting = f"x in seconds ~ {over}^x, {sizes[0]:,.0f} to {sizes[-1]:,.0f} {over}"
    return figure("exponent of planning time", values, "1", setting=setting)


def _seconds(devices: int, seed: int, model: str) -> float:
    arguments = {"devices": devices, "seed": seed, "model": model}
    return float(in_child(plan, arguments)["seconds"])


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
