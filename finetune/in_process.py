"""The in-process engine: simulated devices take turns on one shared base model."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from finetune.base_delta import BaseDelta
from finetune.codec import pack
from finetune.local import LocalSettings, train
from finetune.replica import Replica
from finetune.seeds import Stream, generator, torch_seed
from finetune.server import Answer, Task
from finetune.state import cast
from finetune.tokens import Tokenised, local_batches
from solver.plan import Codec

__all__ = ["InProcessEngine"]


class InProcessEngine:
    """Trains one device after another.

    Parameters
    ----------
    replicas : mapping of int to Replica
        Model of each configuration in use.
    data : Tokenised
        Training examples of all devices.
    held : sequence of arrays
        Indices of each device's examples, by its position in the fleet.
    settings : LocalSettings
        Optimizer and clipping; the learning rate comes with the task.
    batch_size : int
        Examples a step.
    dtype : torch.dtype
        Type on the wire.
    seed : int
        Seed of batches and dropout.
    delta : BaseDelta
        Changes the shared base where the aggregation asks for it.
    codec : {"none", "float16", "int8"}
        How uploads are compressed.
    carry_over : bool
        Whether devices add what an upload lost to their next one.
    """

    def __init__(
        self,
        replicas: Mapping[int, Replica],
        data: Tokenised,
        held: Sequence[npt.NDArray[np.int64]],
        settings: LocalSettings,
        batch_size: int,
        dtype: torch.dtype,
        seed: int,
        delta: BaseDelta,
        codec: Codec = "none",
        *,
        carry_over: bool = True,
    ) -> None:
        self._replicas = replicas
        self._data = data
        self._held = held
        self._settings = settings
        self._batch_size = batch_size
        self._dtype = dtype
        self._seed = seed
        self._delta = delta
        self._codec = codec
        self._carry_over = carry_over

    def train(self, tasks: Sequence[Task]) -> Iterator[Answer]:
        """Train the tasks one by one."""
        for task in tasks:
            yield self._train(task)

    def _train(self, task: Task) -> Answer:
        device, where = task.device, (task.round_index, task.device.position)
        held = self._held[device.position]
        replica = self._replicas[device.configuration]
        self._delta.apply(task.base)
        replica.load(task.state)
        batches = local_batches(
            self._data,
            held,
            device.local_steps,
            self._batch_size,
            generator(self._seed, Stream.BATCHES, *where),
        )
        loss = train(
            replica,
            batches,
            self._settings._replace(learning_rate=task.learning_rate),
            torch_seed(self._seed, Stream.DROPOUT, *where),
        )
        answer = Answer(device.name, task.name, len(held), {}, loss)
        if self._codec == "none":
            return answer._replace(state=cast(replica.state(), self._dtype))
        kept = task.kept if self._carry_over else None
        upload = pack(replica.state(), task.state, self._codec, self._dtype, kept)
        return answer._replace(state=upload.data, kept=upload.residual)
