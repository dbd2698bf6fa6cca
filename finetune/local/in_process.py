"""The in-process engine: simulated devices take turns on one shared base model."""

import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from finetune.data.tokens import Batch, Tokenised, draw, group
from finetune.devices import Participant
from finetune.exchange.codec import Wire, pack
from finetune.exchange.messages import Answer, Task
from finetune.local.logit_adjustment import label_offsets
from finetune.local.train import LocalSettings, train
from finetune.model.base_delta import BaseDelta
from finetune.model.prefix_store import PrefixStore
from finetune.model.replica import Replica
from finetune.model.state import State, cast
from finetune.seeds import Stream, generator, torch_seed

__all__ = ["InProcessEngine"]

Indices = npt.NDArray[np.int64]


class InProcessEngine:
    """Trains one device after another.

    A device that keeps its prefix states for the whole run has one grouping of its examples
    into batches for the whole run, whose order alone changes: the states belong to a batch,
    as what a padded batch gives differs in the last bits with what else is in it. All others
    group anew each round.

    Parameters
    ----------
    replicas : mapping of int to Replica
        Model of each configuration in use.
    data : Tokenised
        Training examples of all devices.
    held : sequence of arrays
        Indices of each device's examples, by its position in the fleet.
    settings : LocalSettings
        Optimizer, clipping and loss; the learning rate comes with the task.
    batch_size : int
        Examples a step.
    wire : Wire
        How uploads travel.
    seed : int
        Seed of batches and dropout.
    delta : BaseDelta
        Changes the shared base where the aggregation asks for it.
    store : PrefixStore
        Where states are kept.
    carry_over : bool
        Whether devices add what an upload lost to their next one.
    """

    def __init__(
        self,
        *,
        replicas: Mapping[int, Replica],
        data: Tokenised,
        held: Sequence[Indices],
        settings: LocalSettings,
        batch_size: int,
        wire: Wire,
        seed: int,
        delta: BaseDelta,
        store: PrefixStore,
        carry_over: bool = True,
    ) -> None:
        self._replicas = replicas
        self._data = data
        self._held = held
        self._settings = settings
        self._batch_size = batch_size
        self._wire = wire
        self._seed = seed
        self._store = store
        self._delta = delta
        self._carry_over = carry_over

    def train(self, tasks: Sequence[Task]) -> Iterator[Answer]:
        """Train the tasks one by one."""
        for task in tasks:
            yield self._train(task)

    def _train(self, task: Task) -> Answer:
        began_s = time.perf_counter()
        device = task.device
        replica = self._replicas[device.configuration]
        self._delta.apply(task.base)
        replica.load(task.state)
        drawn = self._draw(device, task.round_index)
        batches = [self._data.batch(indices) for indices in drawn]
        cached = device.cache != "off" and replica.first > 0
        loss = train(
            replica,
            batches,
            self._settings._replace(learning_rate=task.learning_rate),
            torch_seed(self._seed, Stream.DROPOUT, task.round_index, device.position),
            self._states(device, replica, drawn, batches) if cached else None,
            self._offsets(device),
        )
        if device.cache == "round":
            self._store.drop((device.position, replica.first))
        answer = self._packed(task, replica.state(), loss)
        return answer._replace(turn_s=time.perf_counter() - began_s)

    def _packed(self, task: Task, trained: State, loss: float) -> Answer:
        """What the device sends, and keeps."""
        device = task.device
        examples = len(self._held[device.position])
        answer = Answer(device.name, task.name, examples, {}, loss)
        wire = self._wire
        if wire.upload == "none":
            return answer._replace(state=cast(trained, wire.dtype))
        kept = task.kept if self._carry_over else None
        upload = pack(trained, task.state, wire.upload, wire.dtype, kept)
        return answer._replace(state=upload.data, kept=upload.residual)

    def _offsets(self, device: Participant) -> Tensor | None:
        """What is added to the logits for the classes it holds, shape (classes,)."""
        strength, classes = self._settings.logit_adjustment, self._settings.classes
        if not strength:
            return None
        return label_offsets(self._data.labels[self._held[device.position]], classes, strength)

    def _draw(self, device: Participant, round_index: int) -> Indices:
        """Examples of each step, shape (steps, batch_size)."""
        rng = generator(self._seed, Stream.BATCHES, round_index, device.position)
        kept = generator(self._seed, Stream.GROUPS, device.position)
        by = kept if device.cache == "always" else rng
        groups = group(self._data, self._held[device.position], self._batch_size, by)
        return draw(groups, device.local_steps, rng)

    def _states(
        self, device: Participant, replica: Replica, drawn: Indices, batches: Sequence[Batch]
    ) -> Iterator[Tensor]:
        """Prefix states of each step, from the store or computed now.

        They are of the base's original weights: a device sees changed ones in the layers that
        it adapts only (`finetune.model.base_delta`), and these lie above.
        """
        owner = (device.position, replica.first)
        for indices, batch in zip(drawn.tolist(), batches, strict=True):
            states = self._store.get(owner, tuple(indices))
            if states is None:
                states = replica.prefix_states(batch)
                self._store.put(owner, tuple(indices), states)
            yield states
