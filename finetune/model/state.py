"""Adapter states: the tensors that train and travel, under the names PEFT saves them by.

A state maps, for instance, ``base_model.model.bert.encoder.layer.5.attention.self.query.``
``lora_A.weight`` to a tensor of shape (rank, in_features) and ``...lora_B.weight`` to one of
shape (out_features, rank). Tensors of the task head have neither in their name. The server,
the wire, the checkpoint and the saved adapter all use these names.

A server's state may hold more, which the checkpoint keeps with the adapter:

- ``MODULE.base_delta`` (out, in): what an aggregation has added to the base's weight, in
  units of ``B A``, so that the module computes ``W + scaling * (base_delta + B A)``.
- ``MODULE.base_ranks`` (rounds,) and ``MODULE.base_seen`` (devices,): how many ranks each
  round's addition has, and how many rounds' additions each device has received.
- ``NAME.kept_by.POSITION``: what a simulated device keeps of its last compressed upload.
- ``NAME.server_momentum`` and ``NAME.server_variance``: what a server optimizer remembers.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from solver.plan import InputError, Lora

__all__ = [
    "DELTA",
    "KEPT_BY",
    "MOMENTUM",
    "RANKS",
    "SEEN",
    "VARIANCE",
    "A",
    "B",
    "Shapes",
    "State",
    "adapter_of",
    "cast",
    "deltas_of",
    "lora_modules",
    "shapes_of",
    "truncate",
    "wire_dtype",
]

State = dict[str, Tensor]
Shapes = Mapping[str, torch.Size]

A = ".lora_A.weight"
B = ".lora_B.weight"
DELTA = ".base_delta"
RANKS = ".base_ranks"
SEEN = ".base_seen"
KEPT_BY = ".kept_by."
MOMENTUM = ".server_momentum"
VARIANCE = ".server_variance"
BESIDE = (DELTA, RANKS, SEEN, MOMENTUM, VARIANCE)


def lora_modules(names: Iterable[str]) -> list[str]:
    """Names of the adapted modules in a state, without ``lora_A``/``lora_B``, sorted.

    Sorted, as a state read back from a checkpoint has another order than the one written, and
    sums must not depend on it.
    """
    return sorted(name.removesuffix(A) for name in names if name.endswith(A))


def adapter_of(state: Mapping[str, Tensor]) -> State:
    """Adapters and head, without what else a server's state holds."""
    return {
        name: tensor
        for name, tensor in state.items()
        if not name.endswith(BESIDE) and KEPT_BY not in name
    }


def deltas_of(state: Mapping[str, Tensor], modules: Iterable[str]) -> State:
    """What was added to the base's weight, by module, for those of `modules` that have it."""
    return {module: state[module + DELTA] for module in modules if module + DELTA in state}


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """Shape of every tensor."""
    return {name: tensor.shape for name, tensor in state.items()}


def truncate(state: Mapping[str, Tensor], shapes: Shapes) -> State:
    """Cut a state to `shapes`: the first ranks of the modules named, and the head.

    A LoRA factor differs along its rank only, so the leading block is the first ranks.
    """
    return {
        name: state[name][tuple(slice(size) for size in shape)]
        for name, shape in shapes.items()
    }


def cast(state: Mapping[str, Tensor], dtype: torch.dtype) -> State:
    """Copy a state to another type, as for the wire."""
    return {name: tensor.detach().to(dtype, copy=True) for name, tensor in state.items()}


def wire_dtype(lora: Lora) -> torch.dtype:
    """Type in which adapters travel, from the plan's bytes a parameter."""
    known = {4.0: torch.float32, 2.0: torch.float16}
    if lora.bytes_per_parameter not in known:
        raise InputError(
            f"the plan counts {lora.bytes_per_parameter} bytes a parameter on the wire; "
            "expected 4 (float32) or 2 (float16)"
        )
    return known[lora.bytes_per_parameter]
