"""Frozen weights in 4 bits (QLoRA), as bitsandbytes stores and multiplies them.

A weight is nf4 in blocks of 64, each with a constant that is quantised in turn to a byte, in
blocks of 256 (Dettmers et al., "QLoRA", arXiv 2305.14314, section 3). Sizes and kernels follow
bitsandbytes 0.50 (`functional.quantize_4bit`, `autograd.MatMul4Bit`): both passes restore the
whole weight in the compute type before they multiply. Its fused kernels for few tokens need
less and are not counted on.
"""

from collections.abc import Iterable

from profiler.closed_form.architectures import Linear
from profiler.closed_form.tape import FP32_BYTES, Cost

__all__ = ["constants_bytes", "restoring", "stored_bytes"]

BLOCK = 64
CONSTANTS_BLOCK = 256
# Tables of the 16 values of a weight and the 256 of a constant, and the constants' mean.
TABLE_BYTES = FP32_BYTES * (16 + 256 + 1)


def stored_bytes(modules: Iterable[Linear]) -> int:
    """Bytes of the weights of linear modules, their constants and tables; no biases."""
    return sum(_stored_bytes(m.in_features * m.out_features) for m in modules)


def _stored_bytes(weights: int) -> int:
    blocks = _up(weights, BLOCK)
    return _up(weights, 2) + blocks + FP32_BYTES * _up(blocks, CONSTANTS_BLOCK) + TABLE_BYTES


def constants_bytes(module: Linear) -> int:
    """Bytes of a module's constants once they are restored, in 32 bits."""
    return FP32_BYTES * _up(module.in_features * module.out_features, BLOCK)


def restoring(module: Linear, itemsize: int) -> tuple[Cost, ...]:
    """Kernels that restore a weight: its constants, their mean added, and the weight."""
    weights = module.in_features * module.out_features
    constants = constants_bytes(module)
    return (
        Cost(0.0, constants / FP32_BYTES + constants),
        Cost(0.0, 2.0 * constants),
        Cost(0.0, weights / 2 + constants + weights * itemsize),
    )


def _up(whole: int, part: int) -> int:
    return -(-whole // part)
