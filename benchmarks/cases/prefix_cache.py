"""What keeping the outputs of frozen layers saves a shallow device."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.child import in_child
from benchmarks.fetch import fetch_model, fetch_reviews
from benchmarks.local_plan import ONE_THREAD, write_down
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure

if TYPE_CHECKING:
    from finetune.exchange.messages import Answer, Task
    from finetune.local.in_process import InProcessEngine
    from solver.plan import Cache

LAYERS, DEPTHS, QUICK_DEPTHS = 6, (1, 2, 3), (2,)
EXAMPLES, BATCH, EPOCHS, TOKENS, RANK = 64, 16, 3, 64, 8
TARGET_DEPTH, TARGET = 2, 2.0
# Name, cache, dropout below the first adapted layer, round.
WAYS: "tuple[tuple[str, Cache, bool, int], ...]" = (
    ("plain", "off", True, 0),
    ("no frozen dropout", "off", False, 0),
    ("round", "round", True, 0),
    ("always, first round", "always", True, 0),
    ("always, later round", "always", True, 1),
)
CACHED = ("round", "always, later round")

PROTOCOL = f"""
The pretrained 6-layer all-MiniLM-L6-v2, movie reviews, one device with {EXAMPLES} examples
(batches of {BATCH} of like length, at most {TOKENS} tokens), {EPOCHS} local epochs a round,
rank {RANK} on query and value, AdamW, fp32, one thread. A round of the in-process engine: CPU
seconds of the process, over its steps, filling a cache included where it happens. Plain: no
cache, dropout everywhere. No frozen dropout: the same without dropout below the first adapted
layer. Round: a cache filled each round. Always: one kept for the run, in its first and in a
later round. The ways run in turn within a repetition; each seed has other examples, and a
repetition before the first does not count. Speedups are over plain, per repetition. Each
repetition checks that the mean losses of 'round' and 'no frozen dropout' are the same bits.
Quick: depth {QUICK_DEPTHS[0]} alone.
"""


def measure(job: Job) -> list[Figure]:
    """Time each depth in a process of its own."""
    model, data = fetch_model(), fetch_reviews()
    figures = []
    for depth in QUICK_DEPTHS if job.quick else DEPTHS:
        job.say(f"depth {depth}")
        arguments = {"model": str(model), "data": str(data), "depth": depth, "seeds": job.seeds}
        spans = in_child(time_rounds, arguments, timeout_s=3600, environment=ONE_THREAD)
        figures += _figures(depth, spans)
    return figures


def time_rounds(model: str, data: str, depth: int, seeds: int) -> dict[str, list[float]]:
    """CPU seconds a step by way, one value a repetition."""
    import numpy as np

    from finetune.data.dataset import load_dataset
    from finetune.data.tokens import load_tokeniser
    from finetune.deterministic import deterministic
    from finetune.devices import participants
    from finetune.exchange.codec import Wire
    from finetune.exchange.messages import Task
    from finetune.local.in_process import InProcessEngine
    from finetune.local.train import LocalSettings
    from finetune.model.base import load_base
    from finetune.model.base_delta import BaseDelta
    from finetune.model.prefix_store import PrefixStore
    from finetune.model.replica import Replica
    from finetune.options import RunOptions
    from profiler.schema import Training

    folder, training = Path(model), Training(batch_size=BATCH, sequence_length=TOKENS)
    ranks = [RANK if layer >= LAYERS - depth else 0 for layer in range(LAYERS)]
    steps = EPOCHS * EXAMPLES // BATCH
    plan = write_down(folder, training, ranks, steps=steps)
    tokenise = load_tokeniser(folder, training)
    base = load_base(plan, folder, 0, tokenise.pad_id)
    replica, delta = Replica(base, plan, ranks, 0), BaseDelta(base, plan.lora.scaling)
    texts = tokenise(load_dataset(Path(data), None, training, RunOptions()).train)
    (device,) = participants(plan)
    start = replica.state()
    spans: dict[str, list[float]] = {way: [] for way, *_ in WAYS}
    for seed in range(-1, seeds):
        held = np.random.default_rng(seed + 1).permutation(len(texts.ids))[:EXAMPLES]
        store, losses = PrefixStore(10**9), {}
        for way, cache, frozen_dropout, index in WAYS:
            settings = LocalSettings("adamw", 2e-3, 0.0, frozen_dropout)
            engine = InProcessEngine(
                replicas={0: replica},
                data=texts,
                held=[held],
                settings=settings,
                batch_size=BATCH,
                wire=Wire.of(plan),
                seed=seed + 1,
                delta=delta,
                store=store,
            )
            task = Task(device._replace(cache=cache), index, 2e-3, start)
            with deterministic():
                span_s, answer = _round(engine, task)
            losses[way] = answer.train_loss
            if seed >= 0:
                spans[way].append(span_s / steps)
        if losses["round"] != losses["no frozen dropout"]:
            raise AssertionError("the cache changed a loss")
    return spans


def _round(engine: "InProcessEngine", task: "Task") -> "tuple[float, Answer]":
    began = time.process_time()
    (answer,) = engine.train([task])
    return time.process_time() - began, answer


def _figures(depth: int, spans: dict[str, list[float]]) -> list[Figure]:
    settings = {way: f"depth {depth} of {LAYERS}; {way}" for way in spans}
    plain = spans["plain"]
    figures = [
        figure("CPU time a step", [1e3 * s for s in values], "ms", setting=settings[way])
        for way, values in spans.items()
    ]
    for way, values in spans.items():
        ratios = [base / own for base, own in zip(plain, values, strict=True)]
        target = TARGET if depth == TARGET_DEPTH and way in CACHED else None
        figures.append(
            figure(
                "speedup over plain", ratios, "1", setting=settings[way], target=target,
                better="high",
            )
        )  # fmt: skip
    return [f for f in figures if f.unit == "ms" or not f.setting.endswith("plain")]


CASE = Case(
    name="prefix-cache",
    summary="How much faster is a local step when the outputs of frozen layers are kept?",
    shortfall=(
        "Filled anew each round, the cache has to pay within the three epochs of one; kept "
        "for the whole run it is twice as fast."
    ),
    protocol=PROTOCOL,
    seeds=5,
    quick_seeds=3,
    measure=measure,
)
