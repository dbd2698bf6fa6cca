"""Means of a tensor over the devices that hold it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from finetune.exchange.updates import Update

__all__ = ["holders_of", "mean_of", "weighted_mean"]


def holders_of(name: str, updates: Sequence[Update]) -> tuple[list[Update], list[float]]:
    """Updates that hold a tensor, and their weights by examples."""
    held = [update for update in updates if name in update.state]
    total = sum(update.examples for update in held)
    return held, [update.examples / total for update in held]


def weighted_mean(
    name: str, updates: Sequence[Update], server: Tensor, trim: float = 0.0
) -> Tensor:
    """Mean of a tensor over its holders by examples; the server's where nobody holds it."""
    held, weights = holders_of(name, updates)
    return mean_of([update.state[name] for update in held], weights, trim) if held else server


def mean_of(values: Sequence[Tensor], weights: Sequence[float], trim: float = 0.0) -> Tensor:
    r"""Weighted mean of one tensor or more of one shape, or their trimmed mean.

    The trimmed mean drops, coordinate by coordinate, the :math:`\lfloor F m \rfloor` largest
    and as many of the smallest of m values, and averages the rest evenly: a weight by
    examples would be the attacker's to choose.

    Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates",
    ICML 2018, arXiv 1803.01498.
    """
    if trim:
        dropped = int(trim * len(values))
        ordered = torch.stack(list(values)).sort(dim=0).values
        return ordered[dropped : len(values) - dropped].mean(dim=0)
    mean = torch.zeros_like(values[0])
    for value, weight in zip(values, weights, strict=True):
        mean.add_(value, alpha=weight)
    return mean
