"""Row-wise mean over the devices that have the row (RBLA)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from finetune.aggregate.mean import holders_of, mean_of, weighted_mean
from finetune.aggregate.protocol import Aggregation
from finetune.exchange.updates import Update
from finetune.model.state import A, B, State

__all__ = ["Rbla"]


class Rbla(Aggregation):
    r"""Mean of each rank over those who have it, so that zero-padding dilutes nothing.

    .. math:: A_{j,:} \leftarrow \sum_{k: r_k > j} q_k A_{k,j,:}, \quad
              B_{:,j} \leftarrow \sum_{k: r_k > j} q_k B_{k,:,j}, \quad
              q_k = \frac{n_k}{\sum_{i: r_i > j} n_i}

    A rank that nobody of the round has keeps its value. With equal ranks it is the
    layer-wise mean. Inexact, as A and B are averaged apart.

    Chen, Tavallaie, Nazemi and Zomaya, "RBLA: Rank-Based-LoRA-Aggregation for Fine-tuning
    Heterogeneous Models in FLaaS", arXiv 2408.08699.

    Parameters
    ----------
    trim : float
        Share of the largest and of the smallest values to drop; see `mean_of`.
    """

    def __init__(self, trim: float = 0.0) -> None:
        self.trim = trim

    def join(self, server: State, updates: Sequence[Update], round_index: int) -> State:
        """Average rank by rank, and the head over all."""
        return {
            name: self._by_rank(name, updates, tensor)
            if name.endswith((A, B))
            else weighted_mean(name, updates, tensor, self.trim)
            for name, tensor in server.items()
        }

    def _by_rank(self, name: str, updates: Sequence[Update], server: Tensor) -> Tensor:
        """Ranks between two of the devices' own have the same holders: average them at once."""
        axis = 0 if name.endswith(A) else 1
        held, weights = holders_of(name, updates)
        ends = sorted({update.state[name].shape[axis] for update in held})
        blocks, start = [], 0
        for end in ends:
            having = [i for i, u in enumerate(held) if u.state[name].shape[axis] >= end]
            total = sum(weights[i] for i in having)
            values = [held[i].state[name].narrow(axis, start, end - start) for i in having]
            blocks.append(mean_of(values, [weights[i] / total for i in having], self.trim))
            start = end
        rest = server.narrow(axis, start, server.shape[axis] - start)
        return torch.cat([*blocks, rest], dim=axis)
