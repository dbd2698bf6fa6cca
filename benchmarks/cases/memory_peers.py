"""Memory by what a user would pick instead: accelerate, torch's MemTracker, a regression."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.cases.profiler_memory import PATIENT, draw
from benchmarks.child import in_child
from benchmarks.fetch import fetch_model
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure

MODEL = "all-MiniLM-L6-v2"
CONFIGURATIONS, RUNS = 8, 10
OURS = "legend, no run"

PROTOCOL = f"""
The pretrained 6-layer {MODEL}, batch 8, 64 tokens, fp32, AdamW, dropout, sdpa. Per seed
{CONFIGURATIONS} random configurations (depth 1 to 6, uneven ranks). Truth: the peak that the
allocator of torch reports of a real step, as in profiler-memory. legend:
`profiler.memory.model`, from probes on fake tensors, nothing run. accelerate:
`estimate_training_usage` of the model's bytes, as `accelerate estimate-memory` prints it (it
knows neither batch nor depth nor rank). MemTracker: torch.distributed._tools, around a real
step of the configuration itself.
Regression: least squares of real peaks on depth and on the sum of ranks, from {RUNS} real runs
with one rank on all layers, the calibration that a published memory model uses. Absolute error
of the peak in percent, over all configurations.
"""


def measure(job: Job) -> list[Figure]:
    """Ask every peer at every seed."""
    found: dict[str, list[float]] = {}
    failed: dict[str, str] = {}
    for seed in range(job.seeds):
        job.say(f"seed {seed}")
        arguments = {"model": str(fetch_model()), "seed": seed}
        answer = in_child(compare, arguments, timeout_s=1800, environment=PATIENT)
        for name, errors in answer["errors"].items():
            found.setdefault(name, []).extend(errors)
        failed |= answer["failed"]
    job.notes.extend(f"{name} failed: {why}" for name, why in failed.items())
    return [
        one
        for name, errors in found.items()
        for one in (
            figure("peak off: mean", [float(np.mean(errors))], "%", setting=name),
            figure("peak off: worst", [max(errors)], "%", setting=name),
        )
    ]


def compare(model: str, seed: int) -> dict[str, Any]:
    """Errors in percent by method, and why a method failed; in a process of its own."""
    from benchmarks.allocator import prepare, real_peak_bytes
    from profiler.predict import peak_bytes
    from profiler.probes import ranks_at
    from profiler.schema import Training
    from profiler.survey import survey

    found = survey(model, Training(batch_size=8, sequence_length=64), (), "cpu")
    layers = found.anatomy.model.layers
    drawn = draw(layers, CONFIGURATIONS, seed)
    real = [float(real_peak_bytes(prepare(found, ranks))) for ranks in drawn]
    ours = found.count_memory(lambda: None)
    calibration = [
        ranks_at(layers, 1 + run % layers, (4, 16, 32)[run % 3]) for run in range(RUNS)
    ]
    peaks = [float(real_peak_bytes(prepare(found, ranks))) for ranks in calibration]
    predicted = {
        OURS: [peak_bytes(ours, ranks) for ranks in drawn],
        "accelerate estimate": [_accelerate_bytes(found)] * len(drawn),
        f"regression on {RUNS} runs": _regression_bytes(calibration, peaks, drawn),
    }
    failed = {}
    try:
        predicted["MemTracker, run"] = [_tracked_bytes(prepare(found, r)) for r in drawn]
    except Exception as error:  # what a private tool of torch raises is its own affair
        failed["MemTracker"] = f"{type(error).__name__}: {error}".splitlines()[0]
    errors = {
        name: [100 * abs(p / t - 1) for p, t in zip(values, real, strict=True)]
        for name, values in predicted.items()
    }
    return {"errors": errors, "failed": failed}


def _accelerate_bytes(found: Any) -> float:
    from accelerate.commands.estimate import calculate_maximum_sizes, estimate_training_usage

    from profiler.checkpoint import build

    model = build(found.checkpoint, found.training, meta=True)
    return float(estimate_training_usage(calculate_maximum_sizes(model)[0], "float32")["step"])


def _regression_bytes(
    calibration: Sequence[Sequence[int]], peaks: Sequence[float], drawn: Sequence[Sequence[int]]
) -> list[float]:
    def features(lists: Sequence[Sequence[int]]) -> Any:
        return np.array([[1.0, sum(r > 0 for r in ranks), sum(ranks)] for ranks in lists])

    weights, *_ = np.linalg.lstsq(features(calibration), np.array(peaks), rcond=None)
    predicted: list[float] = (features(drawn) @ weights).tolist()
    return predicted


def _tracked_bytes(step: Any) -> float:
    """Peak that MemTracker sees of one step."""
    import torch
    from torch.distributed._tools.mem_tracker import MemTracker

    tracker = MemTracker()
    tracker.track_external(step.model, step.optimizer)
    with tracker:
        step.run()
    snapshot = tracker.get_tracker_snapshot("peak")
    return float(snapshot[torch.device("cpu")]["Total"])


CASE = Case(
    name="memory-peers",
    summary="How far off is the memory that a user would predict by other means?",
    protocol=PROTOCOL,
    seeds=3,
    quick_seeds=1,
    measure=measure,
)
