"""The averaged product of a round, without forming it where that is cheaper.

Shapes: out, in of a module; R the summed ranks of its holders.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from finetune.aggregate.mean import holders_of
from finetune.exchange.updates import Update
from finetune.model.state import A, B

__all__ = ["Stack", "small_svd", "stack_of"]


class Stack(NamedTuple):
    """Factors of the averaged product: ``b @ a``, with the weights in `a`."""

    b: Tensor  # (out, R)
    a: Tensor  # (R, in)


def stack_of(module: str, updates: Sequence[Update]) -> Stack | None:
    r"""Stack ``[B_1, B_2, ...]`` over ``[p_1 A_1; p_2 A_2; ...]``; None if nobody holds it.

    Their product is :math:`\sum_k p_k B_k A_k`, exactly.
    """
    held, weights = holders_of(module + A, updates)
    if not held:
        return None
    return Stack(
        b=torch.cat([update.state[module + B] for update in held], dim=1),
        a=torch.cat([w * u.state[module + A] for u, w in zip(held, weights, strict=True)]),
    )


def small_svd(stack: Stack) -> tuple[Tensor, Tensor, Tensor]:
    r"""Singular value decomposition of ``b @ a`` through the small core of two QRs.

    .. math:: B = Q_B R_B, \quad A^T = Q_A R_A, \quad R_B R_A^T = U S V^T
       \;\Rightarrow\; B A = (Q_B U)\, S\, (Q_A V)^T

    at a cost of :math:`O((out + in) R^2 + R^3)` instead of :math:`O(out \cdot in \cdot
    \min(out, in))`.

    Returns
    -------
    u : Tensor, shape (out, m)
    s : Tensor, shape (m,), falling
    vh : Tensor, shape (m, in)
    """
    q_b, r_b = torch.linalg.qr(stack.b.double())
    q_a, r_a = torch.linalg.qr(stack.a.T.double())
    u, s, vh = torch.linalg.svd(r_b @ r_a.T, full_matrices=False)
    return q_b @ u, s, vh @ q_a.T
