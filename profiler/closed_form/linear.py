"""Linear modules on a symbolic tape: frozen, in 4 bits, with an adapter, and trained.

A trained module keeps its input for the gradient of its weights, a frozen one keeps nothing.
"""

from dataclasses import replace

from profiler.closed_form import operations as op
from profiler.closed_form.architectures import Linear
from profiler.closed_form.quantised import constants_bytes, restoring
from profiler.closed_form.tape import FP32_BYTES, Cost, Storage, Tape, Tensor

__all__ = ["linear", "trained_linear"]


def linear(
    tape: Tape,
    x: Tensor,
    module: Linear,
    rank: int = 0,
    *,
    tied: bool = False,
    quantised: bool = False,
) -> Tensor:
    """Apply a frozen linear module, with a LoRA adapter where `rank` is above 0.

    A module applied twice in a layer is `tied` the second time: its gradients add up.
    """
    apply = _quantised if quantised else _frozen
    result = apply(tape, x, module)
    if rank == 0:
        return result
    update = _scaled_update(tape, x, module, rank, tied)
    if quantised:
        # PEFT copies what it adds to, and adds in the compute type.
        result, update = op.copy(tape, result), op.cast(tape, update, tape.itemsize)
    return op.cast(tape, op.add(tape, result, update), tape.itemsize)


def _frozen(tape: Tape, x: Tensor, module: Linear) -> Tensor:
    size = x.elements // module.in_features * module.out_features
    flops = 2.0 * size * module.in_features
    weights = module.parameters * tape.itemsize
    moved = x.nbytes + size * tape.itemsize + weights
    edges = tape.edge(x, flops, size * tape.itemsize + weights, viewed=True)
    return tape.emit(size, edges, Cost(flops, moved), saved=(op.frozen_weights(tape),))


def _quantised(tape: Tape, x: Tensor, module: Linear) -> Tensor:
    """A frozen module in 4 bits: its weight is restored in both passes, and lives for one."""
    before, constants = restoring(module, tape.itemsize), constants_bytes(module)
    weight_bytes = module.in_features * module.out_features * tape.itemsize
    # Constants with and without their mean; the backward pass adds it in place.
    restored = Storage(tape, weight_bytes + 2 * constants)
    tape.forward.extend(before)
    result = _frozen(tape, x, module)
    del restored
    if result.node is not None:
        scratch = weight_bytes + constants
        result.node.edges = tuple(
            replace(e, scratch_bytes=scratch, before=before) for e in result.node.edges
        )
    return result


def _scaled_update(tape: Tape, x: Tensor, module: Linear, rank: int, tied: bool) -> Tensor:
    """``alpha / r * B A x``; PEFT keeps A and B in 32 bits."""
    x = op.cast(tape, x, FP32_BYTES)
    down = Linear(name="A", in_features=module.in_features, out_features=rank, bias=False)
    up = Linear(name="B", in_features=rank, out_features=module.out_features, bias=False)
    shrunk = trained_linear(tape, x, down, tied=tied)
    return op.elementwise(tape, (trained_linear(tape, shrunk, up, tied=tied),))


def trained_linear(tape: Tape, x: Tensor, module: Linear, *, tied: bool = False) -> Tensor:
    """Apply a trained linear module; its input is kept for the gradient of the weights."""
    rows = x.elements // module.in_features
    size = rows * module.out_features
    flops = 2.0 * size * module.in_features
    weights = module.parameters * x.itemsize
    moved = x.nbytes + size * x.itemsize + weights
    return tape.emit(
        size,
        tape.edge(x, flops, size * x.itemsize + weights, viewed=True),
        Cost(flops, moved),
        saved=(x.storage,),
        itemsize=x.itemsize,
        weights_bytes=weights,
        weights_cost=Cost(flops, moved),
        tied=tied,
    )
