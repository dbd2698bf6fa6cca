"""Peak memory of a training step, to the byte, without running it.

The step runs on fake tensors (shapes, no data). A dispatch mode sees every tensor that is
born and, by weak references on storages, when it dies. A few such probes give an affine
model per phase: a table by depth plus a slope by rank.
"""

import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from profiler.adapters import Step, adapt, make_batch, ranks_at
from profiler.anatomy import Anatomy
from profiler.checkpoint import Checkpoint, build
from profiler.schema import DepthCost, Memory, Training

# Ranks of the probes: the slope between them holds for the ranks people use.
LOW_RANK = 4
HIGH_RANK = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """Live bytes of one training step, steady state (optimizer state is there).

    Attributes
    ----------
    frozen_bytes : int
        Parameters that are not trained, and buffers.
    saved_bytes : int
        Activations that the forward pass keeps for the backward pass, and the loss.
    forward_bytes, backward_bytes, optimizer_bytes : int
        Peak of each phase without `frozen_bytes`.
    """

    frozen_bytes: int
    saved_bytes: int
    forward_bytes: int
    backward_bytes: int
    optimizer_bytes: int

    @property
    def peak_bytes(self) -> int:
        """Peak of the whole step, frozen weights included."""
        phases = (self.forward_bytes, self.backward_bytes, self.optimizer_bytes)
        return self.frozen_bytes + max(phases)


class StorageMeter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of live storages; `live` now and `peak` since `restart`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.peak = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in tree_iter(out):
            if isinstance(value, Tensor):
                self.add(value)
        return out

    def add(self, tensor: Tensor) -> None:
        """Count a tensor's storage, once."""
        storage = tensor.untyped_storage()
        key = id(storage)
        if key in self._known:
            return
        size = storage.nbytes()

        def forget(_: object) -> None:
            self.live -= size
            del self._known[key]

        self._known[key] = weakref.ref(storage, forget)
        self.live += size
        self.peak = max(self.peak, self.live)

    def restart(self) -> None:
        """Start a new phase: the peak is what lives now."""
        self.peak = self.live


def probe(
    checkpoint: Checkpoint, anatomy: Anatomy, training: Training, ranks: Sequence[int]
) -> Peaks:
    """Count one configuration exactly, on fake tensors.

    Parameters
    ----------
    checkpoint, anatomy, training
        The model and the training step.
    ranks : sequence of int, shape (L,)
        Rank by layer, input first.
    """
    with torch.device("meta"):
        model = adapt(build(checkpoint, training, meta=True), anatomy, ranks, training)
    with FakeTensorMode(allow_non_fake_inputs=False):
        originals = list(_swap(model))
        config = model.get_base_model().config
        batch = make_batch(_vocabulary(config), config.pad_token_id, training)
        peaks = measure(Step(model, batch, training))
    del originals
    return peaks


def _vocabulary(config: Any) -> int:
    return int(config.vocab_size)


def memory_model(
    checkpoint: Checkpoint,
    anatomy: Anatomy,
    training: Training,
    advance: Callable[[], None] = lambda: None,
) -> Memory:
    """Predict the peak of every depth and rank from a few exact probes.

    Peaks are affine in the ranks and, from depth 1 to L - 1, in the depth; at depth L the
    input of the layers need not be kept, so the ends of that range and L are probed. A model
    of unlike blocks is probed at every depth. ``framework_bytes`` is left 0: it belongs to a
    process, not to the step.

    Parameters
    ----------
    checkpoint, anatomy, training
        The model and the training step.
    advance : callable
        Called after each of `probe_count(anatomy)` probes.
    """

    def peaks_at(depth: int, rank: int) -> Peaks:
        ranks = ranks_at(anatomy.model.layers, depth, rank)
        found = probe(checkpoint, anatomy, training, ranks)
        advance()
        return found

    low = {depth: peaks_at(depth, LOW_RANK) for depth in _low_depths(anatomy)}
    high = {depth: peaks_at(depth, HIGH_RANK) for depth in _high_depths(anatomy)}
    depth, rank = _held_out(anatomy)
    witness = peaks_at(depth, rank)

    def affine(phase: str) -> DepthCost:
        return _affine(
            anatomy.model.layers,
            {k: getattr(p, phase) for k, p in low.items()},
            {k: getattr(p, phase) for k, p in high.items()},
        )

    phases = {n: affine(n) for n in ("forward_bytes", "backward_bytes", "optimizer_bytes")}
    frozen = low[1].frozen_bytes
    predicted = frozen + max(
        p.by_depth[depth] + rank * sum(p.per_rank[-depth:]) for p in phases.values()
    )
    saved = affine("saved_bytes").by_depth
    return Memory(
        weights_bytes=frozen,
        framework_bytes=0,
        activation_bytes=[max(0.0, float(d)) for d in np.diff(saved)[::-1]],
        error_fraction=abs(predicted / witness.peak_bytes - 1),
        **phases,
    )


def probe_count(anatomy: Anatomy) -> int:
    """Number of probes that `memory_model` runs."""
    return len(_low_depths(anatomy)) + len(_high_depths(anatomy)) + 1


def _low_depths(anatomy: Anatomy) -> list[int]:
    layers = anatomy.model.layers
    few = {0, 1, min(2, layers), layers - 1, layers}
    return sorted(few if anatomy.uniform else range(layers + 1))


def _high_depths(anatomy: Anatomy) -> list[int]:
    layers = anatomy.model.layers
    return sorted({1, layers} if anatomy.uniform else range(1, layers + 1))


def _held_out(anatomy: Anatomy) -> tuple[int, int]:
    return max(1, anatomy.model.layers * 2 // 3), (LOW_RANK + HIGH_RANK) // 2


def _affine(layers: int, low: dict[int, int], high: dict[int, int]) -> DepthCost:
    """Fit ``by_depth`` and ``per_rank`` to bytes by depth at the two probed ranks."""
    slopes = {k: (high[k] - low[k]) / (HIGH_RANK - LOW_RANK) for k in high}
    depths = range(layers + 1)
    # slope[k]: bytes that one rank on each of the last k layers adds.
    slope = np.interp(depths, [0, *slopes], [0.0, *slopes.values()])
    at_low = np.interp(depths, list(low), list(low.values()))
    per_rank = np.maximum(np.diff(slope)[::-1], 0.0)
    summed = np.concatenate([[0.0], np.cumsum(per_rank[::-1])])
    return DepthCost(
        by_depth=[max(0.0, float(v)) for v in at_low - LOW_RANK * summed],
        per_rank=[float(v) for v in per_rank],
    )


def _swap(model: nn.Module) -> Iterator[Tensor]:
    """Replace meta tensors by fake CPU tensors; yields the originals, to keep their ids."""
    fakes: dict[int, Tensor] = {}
    for module in model.modules():
        own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        for name, tensor in own:
            if id(tensor) not in fakes:
                yield tensor
                fakes[id(tensor)] = _fake(tensor)
            setattr(module, name, fakes[id(tensor)])


def _fake(tensor: Tensor) -> Tensor:
    fake = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device="cpu")
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(fake, requires_grad=tensor.requires_grad)
    return fake


def measure(step: Step) -> Peaks:
    """Count the phases of a step, on fake or on real tensors."""
    with StorageMeter() as meter:
        frozen = _count_held(meter, step)
        _create_optimizer_state(step)
        meter.restart()
        before = meter.live
        loss = step.forward()
        forward, saved = meter.peak, meter.live - before
        meter.restart()
        step.backward(loss)
        backward = meter.peak
        del loss
        meter.restart()
        step.update()
        optimizer = meter.peak
    return Peaks(
        frozen_bytes=frozen,
        saved_bytes=saved,
        forward_bytes=forward - frozen,
        backward_bytes=backward - frozen,
        optimizer_bytes=optimizer - frozen,
    )


def _count_held(meter: StorageMeter, step: Step) -> int:
    """Count what the step holds from the start; returns the frozen part, in bytes."""
    for parameter in step.model.parameters():
        if not parameter.requires_grad:
            meter.add(parameter)
    for buffer in step.model.buffers():
        meter.add(buffer)
    frozen = meter.live
    for parameter in step.model.parameters():
        meter.add(parameter)
    for tensor in step.batch.values():
        meter.add(tensor)
    return frozen


def _create_optimizer_state(step: Step) -> None:
    if step.optimizer is None:
        return
    for group in step.optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    step.update()
