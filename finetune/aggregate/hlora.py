"""FlexLoRA's result at the cost of the ranks, not of the matrices (HLoRA)."""

from torch import Tensor

from finetune.aggregate.flexlora import FlexLora
from finetune.aggregate.products import Stack, small_svd

__all__ = ["HLora"]


class HLora(FlexLora):
    r"""Best parts of the averaged product, by two QRs and the SVD of a small core.

    .. math:: [B_1, B_2, \ldots] = Q_B R_B, \quad [p_1 A_1; p_2 A_2; \ldots]^T = Q_A R_A,
              \quad R_B R_A^T = U S V^T, \qquad
              B \leftarrow Q_B U_{:r} S_{:r}, \quad A \leftarrow (Q_A V_{:r})^T

    The same adapters as `FlexLora` but for rounding; the out x in product is never formed
    while the summed ranks stay below half of both sides. Above that nothing is saved by the
    detour, and the product is decomposed directly.

    Liu et al., "HLoRA: Efficient Federated Learning System for LLM Heterogeneous
    Fine-Tuning", arXiv 2503.00813, as a summary gives it: the full text was not at hand.
    """

    def decompose(self, stack: Stack) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``u``, ``s`` and ``vh`` of the product, whichever way is cheaper."""
        small = 2 * stack.b.shape[1] < min(stack.b.shape[0], stack.a.shape[1])
        return small_svd(stack) if small else super().decompose(stack)
