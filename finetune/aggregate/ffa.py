"""A frozen, only B trained and averaged (FFA-LoRA)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from finetune.aggregate.mean import holders_of, weighted_mean
from finetune.aggregate.protocol import Aggregation
from finetune.exchange.updates import Update
from finetune.model.state import A, B, State

__all__ = ["FfaLora"]


class FfaLora(Aggregation):
    r"""Every device keeps the same A, so the mean of B is the mean of the products: exact.

    .. math:: A \text{ fixed}, \qquad B \leftarrow \sum_{k \in H} p_k\,\mathrm{pad}(B_k)

    A is never trained nor sent: an upload is the plan's without the ``lora_A`` part, and the
    virtual clock charges just that. The download still carries A, as devices of any kind
    take it from there. A device of a lower rank has the first rows of the same A; its B is
    padded with zeros, which keeps the mean exact.

    Sun, Li, Li and Ding, "Improving LoRA in Privacy-preserving Federated Learning",
    ICLR 2024, arXiv 2403.12313.
    """

    def trains(self, name: str) -> bool:
        """All but A."""
        return not name.endswith(A)

    def join(self, server: State, updates: Sequence[Update], round_index: int) -> State:
        """Average B, padded, and the head."""
        return {
            name: _padded_mean(name, updates, tensor)
            if name.endswith(B)
            else (tensor if name.endswith(A) else weighted_mean(name, updates, tensor))
            for name, tensor in server.items()
        }


def _padded_mean(name: str, updates: Sequence[Update], server: Tensor) -> Tensor:
    held, weights = holders_of(name, updates)
    if not held:
        return server
    mean = torch.zeros_like(server)
    for update, weight in zip(held, weights, strict=True):
        value = update.state[name]
        mean[:, : value.shape[1]].add_(value, alpha=weight)
    return mean
