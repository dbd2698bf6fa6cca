"""What a device sends back, and why the server may leave it out."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from finetune.exchange.codec import PayloadError
from finetune.model.state import Shapes, State

__all__ = [
    "Update",
    "change_norm",
    "check_norms",
    "check_report",
    "check_state",
    "clip",
]

# An honest device's change is never so large, nor so much larger than the others'.
LARGEST_NORM = 1e6
NORM_TO_MEDIAN = 100.0
# Fewer answers have no median worth the name.
FEWEST_FOR_MEDIAN = 3
# A device may hold more examples than planned, but not so many.
EXAMPLES_TO_EXPECTED = 10
LARGEST_LOSS = 1e6


class Update(NamedTuple):
    """A device's answer of a round.

    Parameters
    ----------
    device : str
        Its name.
    examples : int
        Training examples it holds, its weight in a mean.
    received : State
        What it started from, as the server knows it: before any codec.
    state : State
        What it trained, and as received what stayed frozen.
    train_loss : float
        Mean loss of its steps.
    """

    device: str
    examples: int
    received: State
    state: State
    train_loss: float


def check_state(state: Mapping[str, Tensor], shapes: Shapes, dtype: torch.dtype) -> None:
    """Raise `PayloadError` unless names, then shapes and types, then numbers are right."""
    if missing := sorted(shapes.keys() - state.keys()):
        raise PayloadError("missing", f"{missing[0]} is missing")
    if extra := sorted(state.keys() - shapes.keys()):
        raise PayloadError("extra", f"{extra[0][:100]!r} was not asked for")
    for name, tensor in state.items():
        if tensor.shape != shapes[name]:
            seen, expected = tuple(tensor.shape), tuple(shapes[name])
            raise PayloadError("shape", f"{name} has shape {seen}; expected {expected}")
        if tensor.dtype != dtype:
            raise PayloadError("dtype", f"{name} is {tensor.dtype}; expected {dtype}")
        if not torch.isfinite(tensor).all():
            raise PayloadError("not finite", f"{name} holds NaN or infinity")


def check_report(examples: object, train_loss: object, expected: int | None) -> None:
    """Raise `PayloadError` unless examples and loss are figures an honest device may report.

    `expected` is what the server believes the device holds; None: it has no idea.
    """
    if not isinstance(examples, int) or isinstance(examples, bool) or examples < 1:
        raise PayloadError(
            "examples", f"reports {examples!r:.40} examples; expected a whole number above 0"
        )
    if expected is not None and examples > EXAMPLES_TO_EXPECTED * expected:
        raise PayloadError(
            "examples",
            f"reports {examples} examples; expected at most {EXAMPLES_TO_EXPECTED} times "
            f"the {expected} planned",
        )
    if not isinstance(train_loss, float) or not 0 <= train_loss <= LARGEST_LOSS:
        raise PayloadError(
            "loss", f"reports a loss of {train_loss!r:.40}; expected 0 to {LARGEST_LOSS:g}"
        )


def change_norm(update: Update) -> float:
    """Norm of what training changed, over all tensors together."""
    changes = (tensor - update.received[name] for name, tensor in update.state.items())
    return math.hypot(*(torch.linalg.vector_norm(c, dtype=torch.float64) for c in changes))


def check_norms(updates: Sequence[Update]) -> dict[str, PayloadError]:
    """Updates, by device, whose change is absurdly large, by itself or beside the others."""
    norms = {update.device: change_norm(update) for update in updates}
    most, why = LARGEST_NORM, ""
    if len(norms) >= FEWEST_FOR_MEDIAN:
        median = statistics.median_low(norms.values())
        if 0 < NORM_TO_MEDIAN * median < most:
            most, why = NORM_TO_MEDIAN * median, f", {NORM_TO_MEDIAN:g} times the median"
    return {
        device: PayloadError(
            "norm", f"changes by a norm of {norm:.3g}; expected at most {most:.3g}{why}"
        )
        for device, norm in norms.items()
        if norm > most
    }


def clip(update: Update, largest_norm: float) -> Update:
    r"""Shrink a change to a norm of at most `largest_norm`.

    .. math:: \Delta \leftarrow \Delta \min(1, C / \lVert \Delta \rVert_2)

    over all tensors of the update together. McMahan et al., "Learning Differentially Private
    Recurrent Language Models", ICLR 2018, arXiv 1710.06963; as a defence: Sun et al., "Can
    You Really Backdoor Federated Learning?", arXiv 1911.07963.
    """
    norm = change_norm(update)
    if norm <= largest_norm:
        return update
    return update._replace(
        state={
            name: torch.lerp(update.received[name], tensor, largest_norm / norm)
            for name, tensor in update.state.items()
        }
    )
