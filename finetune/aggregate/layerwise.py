"""Layer-wise mean over the devices that hold a layer (LEGEND)."""

from collections.abc import Sequence

from finetune.aggregate.mean import weighted_mean
from finetune.aggregate.protocol import Aggregation
from finetune.exchange.updates import Update
from finetune.model.state import State

__all__ = ["LayerwiseMean"]


class LayerwiseMean(Aggregation):
    r"""Mean of each layer over its holders, weighted by examples.

    .. math:: X_l \leftarrow \sum_{i \in H_l} \frac{n_i}{\sum_{j \in H_l} n_j} X_{i,l},
       \qquad X \in \{A, B, \mathrm{head}\}

    with :math:`H_l` the devices of the round that adapt layer l and :math:`n_i` their
    examples. A layer that nobody holds keeps its value. A and B are averaged apart, so the
    product of the means is not the mean of the products: inexact.

    Liu et al., "Adaptive Parameter-Efficient Federated Fine-Tuning on Heterogeneous
    Devices", arXiv 2412.20004.

    Parameters
    ----------
    trim : float
        Share of the largest and of the smallest values to drop; see `mean_of`.
    """

    needs_equal_ranks = True

    def __init__(self, trim: float = 0.0) -> None:
        self.trim = trim

    def join(self, server: State, updates: Sequence[Update], round_index: int) -> State:
        """Average every tensor over the updates that have it."""
        return {n: weighted_mean(n, updates, tensor, self.trim) for n, tensor in server.items()}
