"""What a model folder says before anything is timed: its parts and its memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from profiler.anatomy import Anatomy, examine
from profiler.checkpoint import Checkpoint, open_checkpoint, settle
from profiler.memory.count import Peaks, probe
from profiler.memory.model import memory_model, probe_count
from profiler.probes import Processor
from profiler.schema import InputError, Memory, Training


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A model found fit to be profiled.

    Attributes
    ----------
    training : Training
        The step that will run.
    notes : list of str
        What a person should know of it.
    """

    checkpoint: Checkpoint
    anatomy: Anatomy
    training: Training
    notes: list[str]

    @property
    def probe_count(self) -> int:
        """Probes that `count_memory` runs."""
        return probe_count(self.anatomy)

    def count_memory(self, advance: Callable[[], None]) -> Memory:
        """Count the memory of a step; see `profiler.memory.count`."""
        return memory_model(self.checkpoint, self.anatomy, self.training, advance)

    def count_peaks(self, ranks: Sequence[int]) -> Peaks:
        """Count one configuration exactly; see `profiler.memory.count`."""
        return probe(self.checkpoint, self.anatomy, self.training, ranks)


def survey(
    model: str, training: Training, targets: Sequence[str], processor: Processor
) -> Survey:
    """Look at a model; raises `InputError` where it cannot be profiled here."""
    if processor == "cuda" and not torch.cuda.is_available():
        raise InputError("no CUDA device found; choose --device cpu")
    checkpoint = open_checkpoint(model)
    training, notes = settle(checkpoint, training)
    anatomy = examine(checkpoint, training, targets)
    if not checkpoint.has_weights:
        notes = [*notes, "no weights in the folder: random ones are used, which cost the same"]
    return Survey(checkpoint=checkpoint, anatomy=anatomy, training=training, notes=notes)
