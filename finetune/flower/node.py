"""What a device does with an order: load once, train as the in-process engine does."""

import hashlib
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from finetune.aggregate import Settings, aggregation_for
from finetune.data.dataset import load_examples
from finetune.data.tokens import load_tokeniser
from finetune.deterministic import deterministic
from finetune.devices import participants
from finetune.exchange.codec import PayloadError, Wire, decode_state, encode_state, size_limit
from finetune.exchange.messages import Task
from finetune.flower.orders import Order, Report
from finetune.local.in_process import InProcessEngine
from finetune.local.train import LocalSettings
from finetune.model.base import load_base
from finetune.model.base_delta import BaseDelta
from finetune.model.prefix_store import PrefixStore
from finetune.model.replica import Replica
from finetune.model.state import Shapes, State, cast
from solver.plan import InputError, Plan

__all__ = ["Node"]


class _Ready(NamedTuple):
    """Model and data in memory, for orders that ask for these."""

    key: str
    engine: InProcessEngine
    shapes: Shapes


class Node:
    """A device with its own model folder and its own examples.

    What it loads stays in memory as long as the orders are for the same plan, options and
    labels, and with it what a cache keeps and what an upload lost to its codec. Its random
    streams are those of its position in the fleet, and its examples count from 0, which
    changes no draw: they are shuffled by place, not by value.

    Parameters
    ----------
    device : str
        Its name in the plan.
    model, data : Path
        Model folder and file of examples; they never leave this machine.
    """

    def __init__(self, device: str, model: Path, data: Path) -> None:
        self._device = device
        self._model = model
        self._data = data
        self._ready: _Ready | None = None
        self._kept: State = {}

    def load(self, order: Order) -> Shapes:
        """Have model and data in memory before an order comes; return what it will train."""
        with deterministic():
            return self._load(order)[0].shapes

    def train(self, order: Order, adapters: bytes) -> tuple[Report, bytes]:
        """Train from the adapters sent; return the report and the adapters trained.

        Raises
        ------
        InputError
            If the order is for another device, or does not fit this model and data.
        """
        if order.device != self._device:
            raise InputError(f"the order is for '{order.device}'; this is '{self._device}'")
        began = time.perf_counter()
        with deterministic():
            ready, loaded = self._load(order)
            load_s = time.perf_counter() - began if loaded else 0.0
            began = time.perf_counter()
            state = _received(adapters, ready.shapes, order.plan)
            device = participants(order.plan)[0]._replace(
                position=order.position, local_steps=order.local_steps
            )
            task = Task(
                device=device,
                round_index=order.round_index,
                learning_rate=order.learning_rate,
                state=state,
                kept=self._kept,
                name=order.task,
            )
            answer = next(iter(ready.engine.train([task])))
            self._kept = answer.kept
        report = Report(
            device=self._device,
            round_index=order.round_index,
            task=order.task,
            examples=answer.examples,
            train_loss=answer.train_loss,
            train_s=time.perf_counter() - began,
            load_s=load_s,
        )
        trained = answer.state
        return report, trained if isinstance(trained, bytes) else encode_state(trained, "none")

    def _load(self, order: Order) -> tuple[_Ready, bool]:
        """Model and data for an order, and whether they had to be loaded."""
        fixed = msgspec.json.encode([order.plan, order.options, order.labels, order.position])
        key = hashlib.sha256(fixed).hexdigest()
        if self._ready is not None and self._ready.key == key:
            return self._ready, False
        self._ready = None  # so that two models are never in memory at once
        self._kept = {}
        self._ready = self._build(key, order)
        return self._ready, True

    def _build(self, key: str, order: Order) -> _Ready:
        plan, options = order.plan, order.options
        examples, _ = load_examples(self._data, plan.training, options, order.labels)
        tokenise = load_tokeniser(self._model, plan.training)
        base = load_base(
            plan, self._model, options.seed, tokenise.pad_id, options.compute_dtype
        )
        replica = Replica(base, plan, plan.ranks, options.seed)
        choices = Settings(options.seed, options.aggregation_trim)
        _, aggregation = aggregation_for(plan, options.aggregation, choices)
        replica.freeze_except(aggregation.trains)
        # The engine looks its examples up by the device's position in the fleet.
        others = [np.empty(0, dtype=np.int64)] * order.position
        engine = InProcessEngine(
            replicas={0: replica},
            data=tokenise(examples),
            held=[*others, np.arange(len(examples.texts))],
            settings=LocalSettings.of(plan.training, options),
            batch_size=options.batch_size or plan.training.batch_size,
            wire=Wire.of(plan),
            seed=options.seed,
            delta=BaseDelta(base, plan.lora.scaling),
            store=PrefixStore(options.cache_memory_mb * 10**6),
            carry_over=aggregation.keeps_coordinates,
        )
        return _Ready(key, engine, replica.shapes)


def _received(adapters: bytes, shapes: Shapes, plan: Plan) -> State:
    """Adapters that the server sent; raises `InputError` for anything else."""
    dtype, _, codec = Wire.of(plan)
    try:
        limit_bytes = size_limit(shapes, codec, dtype)
        return cast(decode_state(adapters, shapes, codec, dtype, limit_bytes), dtype)
    except PayloadError as error:
        raise InputError(f"the adapters that the server sent: {error}") from None
