"""Layer-wise mean over the devices that hold a layer (LEGEND)."""

from collections.abc import Sequence

import torch

from finetune.state import Shapes, State, truncate
from finetune.updates import Update

__all__ = ["LayerwiseMean", "weighted_mean"]


class LayerwiseMean:
    r"""Mean of each layer over its holders, weighted by examples.

    .. math:: X_l \leftarrow \sum_{i \in H_l} \frac{n_i}{\sum_{j \in H_l} n_j} X_{i,l},
       \qquad X \in \{A, B, \mathrm{head}\}

    with :math:`H_l` the devices of the round that adapt layer l and :math:`n_i` their
    examples. A layer that nobody holds keeps its value. A and B are averaged apart, so the
    product of the means is not the mean of the products.

    Liu et al., "Adaptive Parameter-Efficient Federated Fine-Tuning on Heterogeneous
    Devices", arXiv 2412.20004.
    """

    needs_equal_ranks = True

    def hand_out(self, server: State, shapes: Shapes) -> State:
        """Give the layers of this shape."""
        return truncate(server, shapes)

    def join(self, server: State, updates: Sequence[Update]) -> State:
        """Average every tensor over the updates that have it."""
        return {name: weighted_mean(name, updates, server) for name in server}


def weighted_mean(name: str, updates: Sequence[Update], server: State) -> torch.Tensor:
    """Mean of a tensor over its holders by examples; the server's where nobody holds it."""
    holders = [update for update in updates if name in update.state]
    total = sum(update.examples for update in holders)
    if not total:
        return server[name]
    mean = torch.zeros_like(server[name])
    for update in holders:
        mean.add_(update.state[name], alpha=update.examples / total)
    return mean
