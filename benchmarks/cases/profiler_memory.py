"""Memory predicted without running anything, against what the allocator really does."""

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.child import in_child
from benchmarks.fetch import fetch_model
from benchmarks.models import MEDIUM, TINY, write_config
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure
from profiler.schema import InputError

# None of those that the affine model is fitted to.
RANKS = (1, 2, 3, 5, 8, 12, 16, 24, 40, 48, 64)
REAL = "all-MiniLM-L6-v2"
# Threads that wait sleep, so that a busy machine does not make this last hours.
PATIENT = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}
CONFIGURATIONS, QUICK_CONFIGURATIONS = 5, 3
TARGET_SAVED, TARGET_PEAK_BYTES = 0.0, 128.0
TARGET_AFFINE_PERCENT, TARGET_CLOSED_PERCENT = 0.5, 1.0

PROTOCOL = f"""
Models: BERT, RoBERTa, GPT-2 and Llama (grouped queries) in two sizes (4 layers of width 64; in
the full form also 8 of width 256) with random weights, and the pretrained 6-layer {REAL}.
Training: batch 8, 64 tokens, fp32, AdamW, dropout, sdpa. Per model and seed {CONFIGURATIONS}
configurations ({QUICK_CONFIGURATIONS} in the quick form) are drawn: depth 1 to L, each rank of
{", ".join(map(str, RANKS))}, none of which a probe has. Real: a step with optimizer state under
torch.profiler, which hears of every block from the allocator; the peak is what lives between
steps plus the largest running sum of blocks, the saved bytes are the sum after the forward
pass. Count on fake tensors: `profiler.memory.count`. Affine: `profiler.memory.model`, closed
form: `profiler.closed_form.footprint`, each against the count on fake tensors of the same
configuration, peaks with weights. All differences are absolute. One process a model.
"""


def measure(job: Job) -> list[Figure]:
    """Compare every model and seed."""
    names = [*TINY] if job.quick else [*TINY, *MEDIUM]
    count = QUICK_CONFIGURATIONS if job.quick else CONFIGURATIONS
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        folders = {name: str(write_config(name, Path(folder))) for name in names}
        folders |= _pretrained(job)
        for name, path in folders.items():
            job.say(name)
            found[name] = in_child(
                compare,
                {"model": path, "count": count, "seeds": job.seeds},
                timeout_s=1800,
                environment=PATIENT,
            )
    total = sum(len(runs) for runs in found.values())
    figures = [one for name, runs in found.items() for one in _figures(name, runs)]
    return [
        figure(
            "configurations compared", [total], "configurations",
            setting="all models", better="high", target=None if job.quick else 100,
        ),
        *figures,
    ]  # fmt: skip


def _pretrained(job: Job) -> dict[str, str]:
    try:
        return {REAL: str(fetch_model())}
    except InputError as error:
        job.notes.append(f"{REAL} is left out: {error}")
        return {}


def _figures(name: str, runs: Sequence[dict[str, float]]) -> list[Figure]:
    columns = {key: [run[key] for run in runs] for key in runs[0]}
    return [
        figure(title, columns[key], unit, setting=name, target=target, judged="worst")
        for title, key, unit, target in (
            ("saved bytes off", "saved_bytes", "bytes", TARGET_SAVED),
            ("peak off", "peak_bytes", "bytes", TARGET_PEAK_BYTES),
            ("affine model off", "affine_percent", "%", TARGET_AFFINE_PERCENT),
            ("closed form off", "closed_percent", "%", TARGET_CLOSED_PERCENT),
        )
    ]


def compare(model: str, count: int, seeds: int) -> list[dict[str, float]]:
    """Absolute differences of every configuration; runs in a process of its own."""
    from benchmarks.allocator import prepare, real_peak_bytes, real_saved_bytes
    from profiler.closed_form.footprint import memory_by_closed_form
    from profiler.predict import peak_bytes
    from profiler.schema import Training
    from profiler.survey import survey

    found = survey(model, Training(batch_size=8, sequence_length=64), (), "cpu")
    affine = found.count_memory(lambda: None)
    closed = memory_by_closed_form(_setting(model, found), framework_bytes=0.0)
    compared = []
    layers = found.anatomy.model.layers
    for ranks in (ranks for seed in range(seeds) for ranks in draw(layers, count, seed)):
        counted = found.count_peaks(ranks)
        step = prepare(found, ranks)
        peak = counted.peak_bytes
        compared.append(
            {
                "peak_bytes": float(abs(peak - real_peak_bytes(step))),
                "saved_bytes": float(abs(counted.saved_bytes - real_saved_bytes(step))),
                "affine_percent": 100 * abs(peak_bytes(affine, ranks) / peak - 1),
                "closed_percent": 100 * abs(peak_bytes(closed, ranks) / peak - 1),
            }
        )
    return compared


def draw(layers: int, count: int, seed: int) -> list[list[int]]:
    """Rank lists by layer, input first; depths and ranks at random."""
    source = random.Random(seed)
    drawn: list[list[int]] = []
    for _ in range(count):
        depth = source.randint(1, layers)
        drawn.append([0] * (layers - depth) + source.choices(RANKS, k=depth))
    return drawn


def _setting(model: str, found: Any) -> Any:
    from profiler.closed_form.architectures import read_architecture
    from profiler.closed_form.simulate import Setting
    from profiler.configs import load_config

    return Setting(
        architecture=read_architecture(load_config(model)[1]),
        training=found.training,
        adapted=tuple(target.name for target in found.anatomy.model.targets),
        fused=False,
    )


CASE = Case(
    name="profiler-memory",
    summary="Is memory known without running the model what the allocator really takes?",
    protocol=PROTOCOL,
    seeds=3,
    quick_seeds=1,
    measure=measure,
)
