"""What the engine adds to a bare PEFT loop, and to a process as devices are added."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.child import in_child, peak_rss_bytes
from benchmarks.fetch import fetch_model, fetch_reviews
from benchmarks.local_plan import ONE_THREAD, write_down
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure

if TYPE_CHECKING:
    from finetune.data.tokens import Batch
    from finetune.model.state import State

LAYERS, DEPTHS = 6, (2, 6)
BATCH, STEPS, TOKENS, RANK, RATE = 16, 8, 64, 8, 2e-3
COUNTS, SAMPLE, ROUNDS = (10, 80, 320), 10, 2
TARGET_RATIO, TARGET_GROWTH_PERCENT = 1.03, 1.0

PROTOCOL = f"""
The pretrained 6-layer all-MiniLM-L6-v2, movie reviews, batches of {BATCH} of at most {TOKENS}
tokens, rank {RANK} on query and value, AdamW, fp32, one thread. Time: CPU seconds of {STEPS}
local steps, by the engine (`finetune.local.train` in deterministic mode, loading the adapters
into the shared model and copying them out included) and by a bare loop of PyTorch and PEFT on a
model of its own, from the same adapters, on the same batches, under the same seed. They run in
turn, each first in every other repetition, after one of each that does not count; ratios are
per repetition. Each repetition checks that the mean losses are the same bits. Memory: peak
resident set of a process that plays {ROUNDS} rounds of {SAMPLE} devices, from fleets of
{COUNTS[0]}, {COUNTS[1]} and {COUNTS[2]} devices at full depth on the same data, one process
each; and, in steps of one text, where all devices are asked at once, whose updates the server
holds until it joins them.
"""


def measure(job: Job) -> list[Figure]:
    """Time each depth, and weigh each fleet, in processes of their own."""
    where = {"model": str(fetch_model()), "data": str(fetch_reviews())}
    figures = []
    for depth in DEPTHS:
        job.say(f"time at depth {depth}")
        arguments = {**where, "depth": depth, "seeds": job.seeds}
        spans = in_child(time_steps, arguments, timeout_s=3600, environment=ONE_THREAD)
        figures += _time_figures(depth, spans)
    for asked in (SAMPLE, None):
        peaks = {}
        for count in COUNTS:
            job.say(f"memory with {count} devices, {asked or count} asked")
            arguments = {**where, "devices": count, "asked": asked or count}
            arguments["batch"] = BATCH if asked else 1
            peaks[count] = in_child(weigh, arguments, timeout_s=3600, environment=ONE_THREAD)
        figures += _memory_figures(peaks, asked)
    return figures


def time_steps(model: str, data: str, depth: int, seeds: int) -> dict[str, list[float]]:
    """CPU seconds a step of engine and bare loop, one value a repetition."""
    import numpy as np

    from finetune.data.dataset import load_dataset
    from finetune.data.tokens import load_tokeniser, local_batches
    from finetune.deterministic import deterministic
    from finetune.local.train import LocalSettings, train
    from finetune.model.base import load_base
    from finetune.model.replica import Replica
    from finetune.options import RunOptions
    from profiler.schema import Training

    folder, training = Path(model), Training(batch_size=BATCH, sequence_length=TOKENS)
    ranks = [RANK if layer >= LAYERS - depth else 0 for layer in range(LAYERS)]
    plan = write_down(folder, training, ranks)
    tokenise = load_tokeniser(folder, training)
    replica = Replica(load_base(plan, folder, 0, tokenise.pad_id), plan, ranks, 0)
    texts = tokenise(load_dataset(Path(data), None, training, RunOptions()).train)
    start = replica.state()
    bare = _bare_loop(folder, ranks, start)
    spans: dict[str, list[float]] = {"engine": [], "bare loop": []}

    def engine(batches: "list[Batch]", seed: int) -> float:
        with deterministic():
            replica.load(start)
            loss = train(replica, batches, LocalSettings("adamw", RATE, 0.0), seed)
            replica.state()
        return loss

    sides = {"engine": engine, "bare loop": bare}
    for seed in range(-1, seeds):
        rng = np.random.default_rng(seed + 1)
        held = rng.permutation(len(texts.ids))[: STEPS * BATCH]
        batches = list(local_batches(texts, held, STEPS, BATCH, rng))
        losses = {}
        for side in sorted(sides, reverse=bool(seed % 2)):
            began = time.process_time()
            losses[side] = sides[side](batches, seed + 1)
            if seed >= 0:
                spans[side].append((time.process_time() - began) / STEPS)
        if len(set(losses.values())) > 1:
            raise AssertionError(f"the losses differ: {losses}")
    return spans


def _bare_loop(
    folder: Path, ranks: list[int], start: "State"
) -> "Callable[[list[Batch], int], float]":
    """What anybody would write with PyTorch and PEFT; a call starts from `start`."""
    import warnings

    import torch
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
    from transformers import AutoModelForSequenceClassification

    layers = [layer for layer, rank in enumerate(ranks) if rank]
    config = LoraConfig(
        r=RANK,
        lora_alpha=2 * RANK,
        target_modules=["query", "value"],
        layers_to_transform=layers,
        modules_to_save=["classifier"],
    )
    plain = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(plain, config)
    parameters = [p for p in model.parameters() if p.requires_grad]

    def loop(batches: "list[Batch]", seed: int) -> float:
        set_peft_model_state_dict(model, dict(start))
        torch.manual_seed(seed)
        optimizer = torch.optim.AdamW(parameters, lr=RATE)
        model.train()
        losses: list[float] = []
        for batch in batches:
            loss = model(**batch).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return sum(losses) / len(losses)

    return loop


def weigh(model: str, data: str, devices: int, asked: int, batch: int) -> int:
    """Peak bytes of this process after some rounds."""
    from finetune.deterministic import deterministic
    from finetune.options import RunOptions
    from finetune.session.setup import Sources, set_up
    from profiler.schema import Training

    training = Training(batch_size=BATCH, sequence_length=TOKENS)
    plan = write_down(Path(model), training, [RANK] * LAYERS, devices=devices)
    options = RunOptions(sample=asked, max_test=1, batch_size=batch)
    with deterministic():
        sources = Sources(Path(model), Path(data))
        federation = set_up(plan, sources, options, lambda: None)
        state = federation.start
        for index in range(ROUNDS):
            state = federation.server.play(state, index).state
    return peak_rss_bytes()


def _time_figures(depth: int, spans: dict[str, list[float]]) -> list[Figure]:
    setting = f"depth {depth} of {LAYERS}"
    figures = [
        figure("CPU time a step", [1e3 * s for s in values], "ms", setting=f"{setting}; {side}")
        for side, values in spans.items()
    ]
    sides = zip(spans["engine"], spans["bare loop"], strict=True)
    ratios = [own / bare for own, bare in sides]
    ratio = figure("engine / bare loop", ratios, "1", setting=setting, target=TARGET_RATIO)
    return [*figures, ratio]


def _memory_figures(peaks: dict[int, int], asked: int | None) -> list[Figure]:
    who = f"{asked} asked" if asked else "all asked"
    figures = [
        figure("peak memory", [peak / 1e6], "MB", setting=f"{count} devices, {who}")
        for count, peak in peaks.items()
    ]
    growth = 100 * (peaks[COUNTS[-1]] / peaks[COUNTS[0]] - 1)
    return [
        *figures,
        figure(
            "growth of the peak", [growth], "%",
            setting=f"{COUNTS[0]} to {COUNTS[-1]} devices, {who}",
            target=TARGET_GROWTH_PERCENT if asked else None,
        ),
    ]  # fmt: skip


CASE = Case(
    name="local-step",
    summary="What does the engine cost over a bare PEFT loop, and over one device?",
    protocol=PROTOCOL,
    seeds=10,
    quick_seeds=5,
    measure=measure,
)
