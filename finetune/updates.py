"""What a device sends back, and why the server may leave it out."""

from typing import NamedTuple

import torch

from finetune.state import Shapes, State

__all__ = ["Update", "problem"]


class Update(NamedTuple):
    """A device's answer of a round.

    Parameters
    ----------
    device : str
        Its name.
    examples : int
        Training examples it holds, its weight in a mean.
    received : State
        What it started from, as the server knows it.
    state : State
        What it trained.
    train_loss : float
        Mean loss of its steps.
    """

    device: str
    examples: int
    received: State
    state: State
    train_loss: float


def problem(state: State, shapes: Shapes, dtype: torch.dtype) -> str | None:
    """Why a state cannot be used, or None: names, then types and shapes, then numbers."""
    if missing := sorted(shapes.keys() - state.keys()):
        return f"{missing[0]} is missing"
    if extra := sorted(state.keys() - shapes.keys()):
        return f"{extra[0]} was not asked for"
    for name, tensor in state.items():
        if tensor.shape != shapes[name]:
            return f"{name} has shape {tuple(tensor.shape)}; expected {tuple(shapes[name])}"
        if tensor.dtype != dtype:
            return f"{name} is {tensor.dtype}; expected {dtype}"
        if not torch.isfinite(tensor).all():
            return f"{name} holds NaN or infinity"
    return None
