"""Peak memory of a training step, to the byte, without running it.

The step runs on fake tensors (shapes, no data). A dispatch mode sees every tensor that is
born and, by weak references on storages, when it dies.

In float32 on a CPU this equals the events of torch's own allocator, byte for byte. Not seen
is what never becomes a tensor of Python's: 12 bytes of scalars in AdamW's kernel, scratch
inside bfloat16 kernels (a few KB), and under recomputation the state of the random number
generator, 5 KB for each layer.
"""

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from profiler.adapters import Step, adapt, make_batch
from profiler.anatomy import Anatomy
from profiler.checkpoint import Checkpoint, build
from profiler.schema import InputError, Training


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


# Autograd scatters gradients into fresh zeros in place, but where a mode watches it takes the
# form that makes a copy.
_IN_PLACE = {
    torch.ops.aten.scatter_add.default: torch.ops.aten.scatter_add_.default,
    torch.ops.aten.index_add.default: torch.ops.aten.index_add_.default,
}


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
        out = _IN_PLACE.get(func, func)(*args, **(kwargs or {}))
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

    Raises
    ------
    InputError
        If what the model computes depends on values, which fake tensors do not have.
    """
    with torch.device("meta"):
        model = adapt(build(checkpoint, training, meta=True), anatomy, ranks, training)
    with FakeTensorMode(allow_non_fake_inputs=False):
        originals = list(_swap(model))
        config = model.get_base_model().config
        batch = make_batch(_vocabulary(config), config.pad_token_id, training)
        try:
            peaks = measure(Step(model, batch, training))
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            raise InputError(
                f"{checkpoint.folder}: what '{config.model_type}' computes depends on values, "
                f"not on shapes alone ({error}), so its memory cannot be counted; choose a "
                "model with dense attention"
            ) from None
    del originals
    return peaks


def _vocabulary(config: Any) -> int:
    return int(config.vocab_size)


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
        numbers = _number_bytes(loss)
        forward, saved = meter.peak + numbers, meter.live - before + numbers
        meter.restart()
        step.backward(loss)
        backward = meter.peak + numbers
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


def _number_bytes(loss: Tensor) -> int:
    """Bytes of the Python numbers that autograd keeps, as the factor alpha / r of each adapter.

    It makes a tensor of every number that scales a trained one and keeps it until the
    backward pass. No dispatch mode and no hook sees them.
    """
    total, seen, pending = 0, set[Any](), [loss.grad_fn]
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        pending.extend(before for before, _ in node.next_functions)
        number = _kept_number(node)
        total += 0 if number is None else number.element_size()
    return total


def _kept_number(node: Any) -> Tensor | None:
    raw = getattr(node, "_raw_saved_other", None)
    # What has a hook is no number, and to look at it would set off a recomputation.
    if raw is None or getattr(raw, "unpack_hook", raw) is not None:
        return None
    other: Tensor | None = getattr(node, "_saved_other", None)
    return other if other is not None and other.dim() == 0 and _is_number(other) else None


def _is_number(tensor: Tensor) -> bool:
    return tensor.dtype in (torch.float64, torch.int64)


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
