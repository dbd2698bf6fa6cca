"""Redistribution of the averaged product by singular value decomposition (FlexLoRA)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from finetune.aggregate.mean import weighted_mean
from finetune.aggregate.products import Stack, stack_of
from finetune.aggregate.protocol import Aggregation
from finetune.exchange.updates import Update
from finetune.model.state import A, B, State, lora_modules

__all__ = ["FlexLora"]


class FlexLora(Aggregation):
    r"""Form the averaged product; every device gets its best part of the device's rank.

    .. math:: W = \sum_{k \in H} p_k B_k A_k = U S V^T, \qquad
              B \leftarrow U_{:r} S_{:r}, \quad A \leftarrow V_{:r}^T

    By Eckart and Young the first r ranks are the best approximation of W of that rank, for
    each r at once: so the server keeps the first ``plan.ranks`` and hands out the first
    :math:`r_k`. Exact as long as the summed ranks of the holders do not exceed the server's;
    beyond, the tail of the singular values is lost, and no adapter of that rank loses less.

    The singular values go to B alone: A then has the scale that LoRA starts it with, and B
    is small, as in training. A rank whose singular value is 0 has B = 0 and keeps its row of
    A, so that it adds nothing and can train; with both 0 it never could.

    Bai et al., "Federated Fine-tuning of Large Language Models under Heterogeneous Tasks and
    Client Resources", NeurIPS 2024, arXiv 2402.11505.
    """

    keeps_coordinates = False

    def join(self, server: State, updates: Sequence[Update], round_index: int) -> State:
        """Decompose the averaged product of every module that was trained."""
        joined = dict(server)
        for name, tensor in server.items():
            if not name.endswith((A, B)):
                joined[name] = weighted_mean(name, updates, tensor)
        for module in lora_modules(server):
            if stack := stack_of(module, updates):
                joined[module + B], joined[module + A] = _factors(
                    *self.decompose(stack), server[module + B], server[module + A]
                )
        return joined

    def decompose(self, stack: Stack) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``u``, ``s`` and ``vh`` of the product, formed in full."""
        product = stack.b.double() @ stack.a.double()
        u, s, vh = torch.linalg.svd(product, full_matrices=False)
        return u, s, vh


def _factors(u: Tensor, s: Tensor, vh: Tensor, b: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    """Best factors of the server's rank; `b` and `a` are what it had."""
    tiny = torch.finfo(a.dtype).eps * s[0]
    kept = min(len(a), int((s > tiny).sum()))
    new_b, new_a = torch.zeros_like(b), a.clone()
    new_b[:, :kept] = u[:, :kept] * s[:kept]
    new_a[:kept] = vh[:kept]
    return new_b, new_a
