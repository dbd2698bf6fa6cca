"""Local training of a device: a plain PyTorch loop on its PEFT model.

With a prefix cache the layers below the first adapted one run without dropout. Whether their
states then come from the cache, are computed anew, or in the course of the step as in any
plain loop makes no difference, to the last bit.
"""

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from finetune.data.tokens import Batch
from finetune.local.logit_adjustment import adjusted_loss
from finetune.model.replica import Replica
from finetune.options import RunOptions
from profiler.schema import Training

__all__ = ["LocalSettings", "train"]


class LocalSettings(NamedTuple):
    """How a device trains; `frozen_dropout`: also below its first adapted layer.

    `classes` is 0 where there are none.
    """

    optimizer: str
    learning_rate: float
    clip_norm: float
    frozen_dropout: bool = True
    logit_adjustment: float = 0.0
    classes: int = 0

    @classmethod
    def of(cls, training: Training, options: RunOptions) -> "LocalSettings":
        """Take what a plan and a run say."""
        return cls(
            training.optimizer,
            options.learning_rate,
            options.clip_norm,
            options.frozen_dropout,
            options.logit_adjustment,
            training.labels,
        )


def train(
    replica: Replica,
    batches: Iterable[Batch],
    settings: LocalSettings,
    seed: int,
    states: Iterable[Tensor] | None = None,
    offsets: Tensor | None = None,
) -> float:
    """Train the replica in place; return the mean loss of its steps.

    With `states`, one for each batch and asked for just before it is used, the layers below
    the first adapted one are not run. `offsets`, one for each class, are added to the logits.

    The optimizer starts fresh every round: a simulated device keeps nothing between the
    rounds it is asked in, and moments of an adapter that has since been averaged would
    point nowhere. Only what trains is given to it. `seed` sets dropout.
    """
    torch.manual_seed(seed)
    parameters = [p for p in replica.parameters.values() if p.requires_grad]
    optimizer = _optimizer(settings, parameters)
    replica.train_mode(frozen_dropout=settings.frozen_dropout and states is None)
    losses = []
    known: Iterable[Tensor | None] = itertools.repeat(None) if states is None else states
    for batch, below in zip(batches, known, strict=False):
        loss, logits = replica.forward(batch, below)
        if offsets is not None:
            loss = adjusted_loss(logits, batch["labels"], offsets)
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
