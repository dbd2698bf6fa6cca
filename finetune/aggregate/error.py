"""How far a round's aggregation is from the averaged product."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from finetune.aggregate.products import Stack, stack_of
from finetune.exchange.updates import Update
from finetune.model.state import DELTA, A, B, State, lora_modules

__all__ = ["aggregation_error"]


def aggregation_error(before: State, after: State, updates: Sequence[Update]) -> float | None:
    r"""Relative Frobenius distance of the server's new product to the averaged product.

    .. math:: e = \sqrt{\frac{\sum_m \lVert P_m - (B_m A_m + \Delta W_m - \Delta W_m^{old})
       \rVert_F^2}{\sum_m \lVert P_m \rVert_F^2}}, \qquad P_m = \sum_k p_k B_k A_k

    over the modules m that anybody trained. What the base already had counts on neither
    side. Exact aggregations come to rounding errors.

    Parameters
    ----------
    before, after : State
        The server's, before and after joining.
    updates : sequence of Update
        What was joined.

    Returns
    -------
    float or None
        None if nobody trained a module, or all products are 0.
    """
    missed = total = 0.0
    for module in lora_modules(before):
        stack = stack_of(module, updates)
        if stack is None:
            continue
        total += _squared_norm(stack)
        both = Stack(
            b=torch.cat([stack.b, -after[module + B]], dim=1),
            a=torch.cat([stack.a, after[module + A]]),
        )
        missed += _squared_norm(both, _added(module, before, after))
    return math.sqrt(missed / total) if total > 0 else None


def _added(module: str, before: State, after: State) -> Tensor | None:
    """What the round added to the base's weight."""
    new, old = after.get(module + DELTA), before.get(module + DELTA)
    return new if new is None or old is None else new - old


def _squared_norm(stack: Stack, less: Tensor | None = None) -> float:
    r"""Square of the norm of ``b @ a - less``.

    Without `less` it is :math:`tr((B^T B)(A A^T))`, in double precision, as long as these
    Gram matrices are cheaper than the product itself.
    """
    b, a = stack.b.double(), stack.a.double()
    (out, ranks), wide = b.shape, a.shape[1]
    if less is None and ranks * (out + wide) < out * wide:
        return max(((b.T @ b) * (a @ a.T)).sum().item(), 0.0)
    product = b @ a if less is None else b @ a - less
    return product.square().sum().item()
