"""Time training steps of several depths and ranks, interleaved, in one process.

`profiler.timing.worker` runs this in a process of its own, whose allocator is set so that the
kernel's page faults do not count as the model's work.
"""

import copy
import random
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Protocol

import torch
from transformers import PreTrainedModel

from profiler.adapters import Step, adapt, make_batch, seeded
from profiler.anatomy import Anatomy
from profiler.checkpoint import Checkpoint, build
from profiler.probes import Processor, Sample, Seconds
from profiler.schema import Training


class Clock(Protocol):
    """Reads a device's time without holding up its work."""

    def mark(self) -> Any:
        """Note the present moment."""

    def between(self, marks: Sequence[Any]) -> list[Seconds]:
        """Spans between moments noted, once the work is done."""


class CpuClock:
    """Wall clock and the CPU time of the calling thread, which does its share of all work.

    Where waiting threads sleep (`profiler.launch.TIME_ENVIRONMENT`) that share is what the step
    takes on an idle machine, whoever else is using this one.
    """

    def mark(self) -> tuple[float, float]:
        """Note the present moment."""
        return time.perf_counter(), time.thread_time()

    def between(self, marks: Sequence[tuple[float, float]]) -> list[Seconds]:
        """Spans between moments noted."""
        return [Seconds(wall_s=b[0] - a[0], cpu_s=b[1] - a[1]) for a, b in pairwise(marks)]


class CudaClock:
    """Events in the stream of a GPU."""

    def mark(self) -> torch.cuda.Event:
        """Note the present moment in the stream."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def between(self, marks: Sequence[torch.cuda.Event]) -> list[Seconds]:
        """Spans between events, after waiting for the last."""
        torch.cuda.synchronize()
        return [Seconds(wall_s=a.elapsed_time(b) / 1e3) for a, b in pairwise(marks)]


class Rig:
    """Steps of several configurations over one frozen base, ready to be timed."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        anatomy: Anatomy,
        training: Training,
        configurations: Sequence[Sequence[int]],
        *,
        processor: Processor,
        seed: int,
    ) -> None:
        self._configurations = configurations
        self._seed = seed
        clock = CudaClock() if processor == "cuda" else CpuClock()
        with seeded(seed):
            base = build(checkpoint, training, meta=False).to(processor)
            self.steps = [_prepare(base, anatomy, training, ranks) for ranks in configurations]
        self._timers = [_Timer(step, anatomy, clock) for step in self.steps]

    def run(self, rounds: int, warmup: int) -> Iterator[Sample]:
        """Time every configuration `warmup + rounds` times, in an order shuffled each round.

        Interleaving spreads drift of the machine (heat, neighbours) over all alike.
        """
        order = random.Random(self._seed)
        count = len(self._configurations)
        with seeded(self._seed):
            for turn in range(-warmup, rounds):
                for index in order.sample(range(count), count):
                    split = not any(self._configurations[index])
                    seconds, parts = self._timers[index].run(split=split)
                    yield Sample(probe=index, round=turn, step=seconds, parts=parts)


def _prepare(
    base: PreTrainedModel, anatomy: Anatomy, training: Training, ranks: Sequence[int]
) -> Step:
    """Build a step whose frozen weights are those of `base`, not a copy."""
    shared = {id(t): t for t in (*base.parameters(), *base.buffers())}
    model = adapt(copy.deepcopy(base, shared), anatomy, ranks, training)
    batch = make_batch(base.config.vocab_size, base.config.pad_token_id, training)
    device = next(base.parameters()).device
    on_device = {name: tensor.to(device) for name, tensor in batch.items()}
    return Step(model.to(device), on_device, training)


class _Timer:
    """Times one step, and on request the parts of its forward pass."""

    def __init__(self, step: Step, anatomy: Anatomy, clock: Clock) -> None:
        self._step = step
        self._clock = clock
        base = step.model.get_base_model().base_model
        self._layers = base.get_submodule(anatomy.model.layers_path)

    def run(self, *, split: bool) -> tuple[Seconds, list[Seconds]]:
        """Run the step once."""
        marks = [self._clock.mark()]
        handles = self._watch(marks) if split else []
        try:
            self._step.run()
        finally:
            for handle in handles:
                handle.remove()
        marks.append(self._clock.mark())
        whole = self._clock.between([marks[0], marks[-1]])[0]
        return whole, self._clock.between(marks) if split else []

    def _watch(self, marks: list[Any]) -> list[Any]:
        def note(*_: object) -> None:
            marks.append(self._clock.mark())

        first = self._layers[0].register_forward_pre_hook(note)
        return [first, *(layer.register_forward_hook(note) for layer in self._layers)]
