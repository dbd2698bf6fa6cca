"""Means of A and B, and what they miss into the base (FedEx-LoRA)."""

from collections.abc import Sequence

from finetune.aggregate.layerwise import LayerwiseMean
from finetune.aggregate.products import stack_of
from finetune.exchange.updates import Update
from finetune.model.state import DELTA, A, B, State, lora_modules

__all__ = ["FedExLora"]


class FedExLora(LayerwiseMean):
    r"""Average A and B apart, and add the error of that to the base: exact.

    .. math:: \bar A = \sum_k p_k A_k, \quad \bar B = \sum_k p_k B_k, \qquad
              \Delta W \leftarrow \Delta W + \sum_k p_k B_k A_k - \bar B \bar A

    over the devices that hold the layer. A device downloads the adapters of its shape and
    the residuals of all rounds since it was last asked, for the layers that it adapts. A
    residual of m holders is :math:`\sum_k p_k (B_k - \bar B)(A_k - \bar A)`, of rank (m - 1) r,
    and is charged as factors of that rank, or as out x in where that is smaller.

    The server keeps the sum as ``base_delta``, and exports it together with the adapter as
    one adapter of the rank that both need.

    Singhal, Ponkshe and Vepakomma, "FedEx-LoRA: Exact Aggregation for Federated and
    Efficient Fine-Tuning of Large Language Models", ACL 2025, arXiv 2410.09432.
    """

    changes_base = True

    def __init__(self) -> None:
        super().__init__(trim=0.0)

    def join(self, server: State, updates: Sequence[Update], round_index: int) -> State:
        """Average every tensor, then add the residuals."""
        plain = {name: tensor for name, tensor in server.items() if not name.endswith(DELTA)}
        joined = server | super().join(plain, updates, round_index)
        for module in lora_modules(server):
            if stack := stack_of(module, updates):
                missed = stack.b @ stack.a - joined[module + B] @ joined[module + A]
                old = server.get(module + DELTA)
                joined[module + DELTA] = missed if old is None else old + missed
        return joined

    def base_rank(self, ranks: Sequence[int]) -> int:
        """One holder's ranks follow from the others', as the weighted deviations sum to 0."""
        return sum(ranks) - max(ranks)
