"""Adapters as safetensors bytes, read back without believing what they say."""

from collections.abc import Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from finetune.state import Shapes, State
from finetune.updates import problem
from solver.plan import InputError

__all__ = ["decode_state", "encode_state", "size_limit"]

# Allowed for each tensor's entry in the header, beside its name.
ENTRY_BYTES = 256


def encode_state(state: Mapping[str, Tensor]) -> bytes:
    """Write a state as safetensors."""
    data: bytes = save({name: tensor.contiguous() for name, tensor in state.items()})
    return data


def size_limit(shapes: Shapes, dtype: torch.dtype) -> int:
    """Most bytes of an honest payload: its tensors and a header that names them."""
    tensors = sum(shape.numel() for shape in shapes.values()) * dtype.itemsize
    return tensors + sum(len(name.encode()) + ENTRY_BYTES for name in shapes) + ENTRY_BYTES


def decode_state(data: bytes, shapes: Shapes, dtype: torch.dtype) -> State:
    """Read a state of just these shapes and this type; raises `InputError` for any other."""
    limit = size_limit(shapes, dtype)
    if len(data) > limit:
        raise InputError(f"sent {len(data)} bytes of adapters; expected at most {limit}")
    try:
        state: State = load(data)
    except (SafetensorError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:100]
        raise InputError(f"the adapters sent are no safetensors file ({reason})") from None
    if objection := problem(state, shapes, dtype):
        raise InputError(objection[:300])
    return state
