"""Zero-padding with norm weights and self-pruning (HetLoRA)."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from finetune.aggregate.mean import weighted_mean
from finetune.aggregate.protocol import Aggregation
from finetune.exchange.updates import Update
from finetune.model.state import A, B, State, lora_modules

__all__ = ["HetLora", "product_norm"]


class HetLora(Aggregation):
    r"""Truncate on the way down, zero-pad on the way up, weight by the product's norm.

    .. math:: \bar A = \sum_i p_i\,\mathrm{pad}(A_i), \quad
              \bar B = \sum_i p_i\,\mathrm{pad}(B_i), \quad
              p_i = \frac{\lVert B_i A_i \rVert_F}{\sum_j \lVert B_j A_j \rVert_F}

    The norm is taken over all modules of a device, and the sum over the devices that hold
    the module. Self-pruning: where the last ranks of a module (a share ``1 - keep``) have a
    product of smaller norm after local training than before, the device gives them up: they
    are zeroed before the sum.

    Cho et al., "Heterogeneous LoRA for Federated Fine-tuning of On-Device Foundation
    Models", EMNLP 2024. Ours: a rank that no device of the round holds keeps its value (with
    both factors zero it could never train again); the head is averaged by examples; a pruned
    device trains its planned rank again in its next round, since a plan is charged as
    planned; and the local loss has no extra term for the tail.

    Parameters
    ----------
    keep : float
        Share of a module's ranks that pruning never touches.
    """

    def __init__(self, keep: float = 0.85) -> None:
        self.keep = keep

    def join(self, server: State, updates: Sequence[Update], round_index: int) -> State:
        """Sum the pruned, zero-padded factors with the devices' norm weights."""
        pruned = [update._replace(state=self._prune(update)) for update in updates]
        norms = [_norm(update.state) for update in pruned]
        joined = {}
        for name in server:
            if name.endswith((A, B)):
                holders = [
                    (norm, update.state[name])
                    for norm, update in zip(norms, pruned, strict=True)
                    if name in update.state
                ]
                joined[name] = _padded_sum(server[name], holders)
            else:
                joined[name] = weighted_mean(name, pruned, server[name])
        return joined

    def _prune(self, update: Update) -> State:
        """Zero the tail of every module whose tail has shrunk in training."""
        state = dict(update.state)
        for module in lora_modules(update.state):
            a, b = state[module + A], state[module + B]
            kept = math.floor(self.keep * len(a))
            before = product_norm(
                update.received[module + A][kept:], update.received[module + B][:, kept:]
            )
            if kept and product_norm(a[kept:], b[:, kept:]) < before:
                tail = torch.arange(len(a)) >= kept
                state[module + A] = a.masked_fill(tail[:, None], 0.0)
                state[module + B] = b.masked_fill(tail[None, :], 0.0)
        return state


def product_norm(a: Tensor, b: Tensor) -> float:
    r"""Frobenius norm of ``b @ a`` without forming it: :math:`tr((B^T B)(A A^T))`."""
    squared = ((b.T @ b) * (a @ a.T)).sum().item()
    return math.sqrt(max(squared, 0.0))


def _norm(state: Mapping[str, Tensor]) -> float:
    """Norm of the products of all modules together."""
    return math.hypot(*(product_norm(state[m + A], state[m + B]) for m in lora_modules(state)))


def _padded_sum(server: Tensor, holders: Sequence[tuple[float, Tensor]]) -> Tensor:
    """Sum zero-padded tensors by norm (evenly if all are 0); unheld ranks keep their value."""
    if not holders:
        return server
    total = sum(norm for norm, _ in holders)
    joined = torch.zeros_like(server)
    held = torch.zeros_like(server, dtype=torch.bool)
    for norm, tensor in holders:
        block = tuple(slice(size) for size in tensor.shape)
        joined[block] += (norm / total if total > 0 else 1 / len(holders)) * tensor
        held[block] = True
    return torch.where(held, joined, server)
