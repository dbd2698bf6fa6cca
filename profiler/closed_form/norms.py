"""Norms on a symbolic tape, each as transformers writes it."""

from dataclasses import replace

from profiler.closed_form import operations as op
from profiler.closed_form.style import Norm
from profiler.closed_form.tape import FP32_BYTES, Cost, Storage, Tape, Tensor

__all__ = ["layer_norm", "norm"]


def layer_norm(tape: Tape, x: Tensor, width: int, *, trained: int = 0) -> Tensor:
    """Layer norm, of so many `trained` parameters; input, means and deviations are kept."""
    rows_bytes = x.elements // width * (FP32_BYTES if tape.fused else x.itemsize)
    # It gives these beside its output, so they are not there before the output is.
    held, *statistics = (Storage(tape, n) for n in (x.nbytes, rows_bytes, rows_bytes))
    saved, edges = (x.storage, *statistics), tape.edge(x, 0.0, x.nbytes)
    cost = Cost(0.0, 2.0 * x.nbytes)
    return tape.emit(
        x.elements,
        edges,
        cost,
        saved=saved,
        itemsize=x.itemsize,
        storage=held,
        weights_bytes=trained * x.itemsize,
    )


def norm(tape: Tape, x: Tensor, width: int, kind: Norm) -> Tensor:
    """Norm of rows of `width` numbers; RMS norms step by step, in 32 bits, as written."""
    if kind == "layer":
        return layer_norm(tape, x, width)
    normed = _normed(tape, x, width)
    if kind == "rms":
        return op.elementwise(
            tape, (op.cast(tape, normed, x.itemsize),), saved=(op.frozen_weights(tape),)
        )
    # The weights in 32 bits and raised by 1 are new numbers, which the gradient needs.
    shifted = kind == "rms-shifted"
    saved = (Storage(tape, width * FP32_BYTES) if shifted else op.frozen_weights(tape),)
    scaled = op.elementwise(tape, (normed,), saved=saved)
    del normed, saved
    return op.cast(tape, scaled, x.itemsize)


def _normed(tape: Tape, x: Tensor, width: int) -> Tensor:
    wide = op.cast(tape, x, FP32_BYTES)
    rows = x.elements // width
    variance = op.elementwise(tape, (_square(tape, wide),), rows)
    inverse = op.saves_output(tape, op.copy(tape, variance))
    return op.multiply(tape, wide, inverse)


def _square(tape: Tape, x: Tensor) -> Tensor:
    """Square by ``pow``, whose gradient builds the power and its multiple first."""
    edges = [replace(e, scratch_bytes=2 * x.nbytes) for e in tape.edge(x, 0.0, x.nbytes)]
    cost = Cost(0.0, 2.0 * x.nbytes)
    return tape.emit(x.elements, edges, cost, saved=(x.storage,), itemsize=x.itemsize)
