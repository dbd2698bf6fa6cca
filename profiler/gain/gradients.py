"""Gradients of the adapted matrices themselves, for which no adapter is needed.

Frozen weights get no gradient from autograd, and giving them one would hold a copy of every
matrix. So the gradient is put together where it arises, from a matrix's inputs x and the
gradient d of its outputs: of one example it is ``g = sum_s d_s x_s^T``.

Shapes: B examples, S tokens, I inputs and O outputs of the matrix.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from profiler.gain.data import Text
from profiler.gain.training import Bench

__all__ = ["Gradient", "collect_gradients"]


@dataclass(slots=True, kw_only=True)
class Gradient:
    """What the examples say of one matrix.

    Attributes
    ----------
    mean : Tensor, shape (O, I)
        Mean gradient of the loss.
    square : float
        Mean over the examples of the squared norm of their own gradients.
    """

    mean: Tensor = field(default_factory=lambda: torch.zeros(()))
    square: float = 0.0

    def add(self, inputs: Tensor, outgoing: Tensor, share: float, batch_size: int) -> None:
        """Count in a batch: inputs (B, S, I) and gradients of outputs (B, S, O).

        ``||g||^2 = sum_{s,t} (d_s . d_t)(x_s . x_t)``, so that the gradient of a single
        example is never formed. What a matrix makes of inputs that all examples share
        (DeBERTa's relative positions) belongs to no example, and counts in the mean alone.
        """
        x, d = inputs.float(), outgoing.float()
        self.mean = self.mean + share * torch.einsum("bso,bsi->oi", d, x)
        if len(x) == batch_size:
            products = torch.bmm(d, d.mT) * torch.bmm(x, x.mT)
            self.square += share * products.sum().item()


def collect_gradients(
    bench: Bench, text: Text, advance: Callable[[], None] = lambda: None
) -> list[list[Gradient]]:
    """Gradients by layer (input first) and target, at the weights of `bench`, dropout off.

    An example counts with its own loss; for causal-lm, whose loss is a mean over the tokens
    of a batch, with its part of that mean times the batch's size.

    Parameters
    ----------
    bench : Bench
        The model; nothing in it changes.
    text : Text
        The examples.
    advance : callable
        Called after every batch.
    """
    record, model = bench.anatomy.model, bench.base
    taps = [[_Tap(1 / len(text.ids)) for _ in record.targets] for _ in range(record.layers)]
    handles = []
    for layer, row in enumerate(taps):
        for target, tap in zip(record.targets, row, strict=True):
            module = model.base_model.get_submodule(record.module_name(layer, target.name))
            handles.append(module.register_forward_hook(tap))
    model.eval()
    try:
        for batch in text.ordered(bench.training.batch_size):
            size = len(batch["input_ids"])
            for tap in (tap for row in taps for tap in row):
                tap.batch_size = size
            torch.autograd.backward(model(**bench.place(batch)).loss * size)
            advance()
    finally:
        for handle in handles:
            handle.remove()
    return [[tap.gradient for tap in row] for row in taps]


class _Tap:
    """Forward hook that sees a matrix's inputs, and later the gradient of its outputs."""

    def __init__(self, share: float) -> None:
        self.gradient = Gradient()
        self.batch_size = 0
        self._share = share

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], outputs: Tensor) -> None:
        if not outputs.requires_grad:
            # The lowest matrices: nothing below them asks for a gradient.
            outputs.requires_grad_()
        kept, size = inputs[0].detach(), self.batch_size

        def count(outgoing: Tensor) -> None:
            self.gradient.add(kept, outgoing.detach(), self._share, size)

        outputs.register_hook(count)  # type: ignore[no-untyped-call]
