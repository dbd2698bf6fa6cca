"""Everything a run needs, built from a plan, a model folder and data."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from finetune.aggregate import aggregation_for
from finetune.base import Base, load_base
from finetune.data import Dataset, load_dataset, load_test
from finetune.devices import Participant, participants
from finetune.evaluate import Evaluator, Score
from finetune.in_process import InProcessEngine
from finetune.local import LocalSettings
from finetune.options import RunOptions
from finetune.partition import shares
from finetune.replica import Replica
from finetune.server import Engine, Server
from finetune.state import Shapes, State, wire_dtype
from finetune.tokens import load_tokeniser
from solver.plan import InputError, Plan

__all__ = ["Federation", "Remote", "Sources", "deterministic", "set_up"]


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


class Remote(NamedTuple):
    """Devices on other machines, or in other processes, in place of simulated ones.

    Parameters
    ----------
    connect : callable
        Makes the engine from the names of the classes and the shape of each configuration.
    test_only : bool
        Whether the server's data are its test examples, the devices having their own.
    """

    connect: Callable[[list[str], Mapping[int, Shapes]], Engine]
    test_only: bool


def set_up(
    plan: Plan,
    sources: Sources,
    options: RunOptions,
    on_answer: Callable[[], None],
    remote: Remote | None = None,
) -> Federation:
    """Load and check everything; raises `InputError` with the first thing that does not fit."""
    name, aggregation = aggregation_for(plan, options.aggregation)
    devices = participants(plan)
    _check_ranks(plan)
    dtype = wire_dtype(plan.lora)
    load = load_test if remote and remote.test_only else load_dataset
    dataset = load(sources.data, sources.test, plan.training, options)
    tokenise = load_tokeniser(sources.model, plan.training)
    base = load_base(plan, sources.model, options.seed, tokenise.pad_id)
    replicas = {
        index: Replica(base, plan, plan.configurations[index].ranks, options.seed)
        for index in sorted({device.configuration for device in devices})
    }
    shapes = {index: replica.shapes for index, replica in replicas.items()}
    _check_bytes(devices, shapes, dtype)
    whole = Replica(base, plan, plan.ranks, options.seed)
    score = Evaluator(tokenise(dataset.test))

    def evaluate(state: State) -> Score:
        whole.load(state)
        return score(whole)

    engine = (
        remote.connect(dataset.label_names, shapes)
        if remote
        else InProcessEngine(
            replicas,
            tokenise(dataset.train),
            shares(plan, dataset, options),
            LocalSettings(plan.training.optimizer, options.learning_rate, options.clip_norm),
            options.batch_size or plan.training.batch_size,
            dtype,
            options.seed,
        )
    )
    server = Server(engine, aggregation, devices, shapes, dtype, options, on_answer)
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
    devices: list[Participant], shapes: dict[int, Shapes], dtype: torch.dtype
) -> None:
    """Refuse a plan that predicts other bytes than its adapters really take on the wire."""
    real = {
        index: sum(shape.numel() for shape in by_name.values()) * dtype.itemsize
        for index, by_name in shapes.items()
    }
    for device in devices:
        predicted = device.predicted.upload_bytes
        if abs(predicted - real[device.configuration]) >= 0.5:
            raise InputError(
                f"device '{device.name}': the plan predicts {predicted:.0f} bytes to upload; "
                f"its adapters and head take {real[device.configuration]}. Profile this "
                "model again and solve again"
            )
