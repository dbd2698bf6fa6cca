"""Everything a run needs, built from a plan, a model folder and data."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from finetune.aggregate import Settings, aggregation_for
from finetune.base import Base, load_base
from finetune.base_delta import BaseDelta
from finetune.codec import payload_bytes
from finetune.data import Dataset, load_dataset
from finetune.devices import Participant, devices_of, participants
from finetune.evaluate import Evaluator, Score
from finetune.in_process import InProcessEngine
from finetune.local import LocalSettings
from finetune.options import RunOptions
from finetune.partition import partition
from finetune.replica import Replica
from finetune.server import Server
from finetune.state import Shapes, State, deltas_of, lora_modules, wire_dtype
from finetune.tokens import load_tokeniser
from solver.plan import Codec, InputError, Plan

__all__ = ["Federation", "Sources", "deterministic", "set_up"]


class Sources(NamedTuple):
    """Where model and data come from; without `test` the test examples are held out."""

    model: Path
    data: Path
    test: Path | None = None


class Federation(NamedTuple):
    """A server with its devices, ready to play rounds."""

    server: Server
    start: State
    base: Base
    dataset: Dataset
    devices: list[Participant]
    aggregation: str
    evaluate: Callable[[State], Score]


def set_up(
    plan: Plan, sources: Sources, options: RunOptions, on_answer: Callable[[], None]
) -> Federation:
    """Load and check everything; raises `InputError` with the first thing that does not fit."""
    settings = Settings(options.seed, options.aggregation_trim)
    name, aggregation = aggregation_for(plan, options.aggregation, settings)
    devices = participants(plan)
    _check_ranks(plan)
    dtype = wire_dtype(plan.lora)
    dataset = load_dataset(sources.data, sources.test, plan.training, options)
    batch_size = options.batch_size or plan.training.batch_size
    sizes = [examples for _, examples in devices_of(plan)]
    held = partition(dataset.train, sizes, options, minimum=batch_size)
    tokenise = load_tokeniser(sources.model, plan.training)
    base = load_base(plan, sources.model, options.seed, tokenise.pad_id)
    replicas = {
        index: Replica(base, plan, plan.configurations[index].ranks, options.seed)
        for index in sorted({device.configuration for device in devices})
    }
    shapes = {index: replica.shapes for index, replica in replicas.items()}
    codec = plan.question.upload_codec
    _check_bytes(devices, shapes, codec, dtype)
    for replica in replicas.values():
        replica.freeze_except(aggregation.trains)
    delta = BaseDelta(base, plan.lora.scaling)
    whole = Replica(base, plan, plan.ranks, options.seed)
    score = Evaluator(tokenise(dataset.test))

    def evaluate(state: State) -> Score:
        delta.apply(deltas_of(state, lora_modules(whole.shapes)))
        whole.load(state)
        return score(whole)

    engine = InProcessEngine(
        replicas,
        tokenise(dataset.train),
        held,
        LocalSettings(plan.training.optimizer, options.learning_rate, options.clip_norm),
        batch_size,
        dtype,
        options.seed,
        delta,
        codec,
        carry_over=aggregation.keeps_coordinates,
    )
    examples = {device.name: len(held[device.position]) for device in devices}
    server = Server(
        engine, aggregation, devices, shapes, dtype, options, on_answer, codec, examples
    )
    return Federation(server, whole.state(), base, dataset, devices, name, evaluate)


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Let torch use only algorithms that give the same bits again, and keep its generator."""
    before = torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    # Nothing here reads memory it did not write, and filling it costs time.
    memory.fill_uninitialized_memory = False
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.use_deterministic_algorithms(before)
        memory.fill_uninitialized_memory = fill


def _check_ranks(plan: Plan) -> None:
    """Refuse a plan whose server cannot hold what its devices train."""
    if not any(plan.ranks):
        raise InputError(
            "the plan adapts no layer, so there is no adapter to train; solve again with a "
            "least depth of 1"
        )
    for index, configuration in enumerate(plan.configurations):
        for layer, (rank, most) in enumerate(zip(configuration.ranks, plan.ranks, strict=True)):
            if rank > most:
                raise InputError(
                    f"configuration {index} has rank {rank} on layer {layer}, more than the "
                    f"server's {most}; the plan is damaged, solve again"
                )


def _check_bytes(
    devices: list[Participant], shapes: dict[int, Shapes], codec: Codec, dtype: torch.dtype
) -> None:
    """Refuse a plan that predicts other bytes than its adapters really take on the wire."""
    real = {index: payload_bytes(by_name, codec, dtype) for index, by_name in shapes.items()}
    for device in devices:
        predicted = device.predicted.upload_bytes
        if abs(predicted - real[device.configuration]) >= 0.5:
            raise InputError(
                f"device '{device.name}': the plan predicts {predicted:.0f} bytes to upload; "
                f"its adapters and head take {real[device.configuration]}. Profile this "
                "model again and solve again"
            )
