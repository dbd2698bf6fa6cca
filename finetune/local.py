"""Local training of a device: a plain PyTorch loop on its PEFT model."""

from collections.abc import Iterable
from typing import NamedTuple

import torch

from finetune.replica import Replica
from finetune.tokens import Batch

__all__ = ["LocalSettings", "train"]


class LocalSettings(NamedTuple):
    """How a device trains."""

    optimizer: str
    learning_rate: float
    clip_norm: float


def train(
    replica: Replica, batches: Iterable[Batch], settings: LocalSettings, seed: int
) -> float:
    """Train the replica in place; return the mean loss of its steps.

    The optimizer starts fresh every round: a simulated device keeps nothing between the
    rounds it is asked in, and moments of an adapter that has since been averaged would
    point nowhere. Only what trains is given to it. `seed` sets dropout.
    """
    torch.manual_seed(seed)
    parameters = [p for p in replica.parameters.values() if p.requires_grad]
    optimizer = _optimizer(settings, parameters)
    replica.model.train()
    losses = []
    for batch in batches:
        loss, _ = replica.forward(batch)
        assert loss is not None
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        if settings.clip_norm > 0:
            torch.nn.utils.clip_grad_norm_(parameters, settings.clip_norm)
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def _optimizer(
    settings: LocalSettings, parameters: list[torch.nn.Parameter]
) -> torch.optim.Optimizer:
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=settings.learning_rate)
    return torch.optim.AdamW(parameters, lr=settings.learning_rate)
