"""Carry an adapter over to other ranks when the plan changes.

Layers that the new plan adapts at a higher rank grow so that the model computes the same as
before; at a lower rank they keep the best approximation of their product. The LoRA scale
alpha / rank is the same at every rank (`solver.plan.Lora`), so only the product counts.
"""

from collections.abc import Mapping

import torch
from msgspec.structs import replace
from torch import Tensor

from finetune.model.state import KEPT_BY, MOMENTUM, VARIANCE, A, B, State, lora_modules
from solver.plan import Plan

__all__ = ["carry", "keep_layers", "shrink"]


def carry(state: Mapping[str, Tensor], fresh: Mapping[str, Tensor]) -> State:
    r"""Bring `state` into the shapes of `fresh`.

    Parameters
    ----------
    state : State
        The server's adapter under the old plan.
    fresh : State
        An untrained adapter of the new plan, made from the run's seed: A drawn, B zero.

    Returns
    -------
    State
        Ranks added: A as drawn, B zero, so :math:`B A` is unchanged. Ranks lost: truncated
        SVD of :math:`B A`. New layers: as in `fresh`. Head and all else: as in `state`,
        what was added to the base included; but of a module that lost ranks, nothing that
        devices kept of an upload, as its ranks now mean something else. What a server
        optimizer remembers of a module begins anew where its ranks change.
    """
    carried = {name: tensor.clone() for name, tensor in {**fresh, **state}.items()}
    for module in lora_modules(fresh):
        if module + A not in state:
            continue
        a, b = state[module + A], state[module + B]
        rank = len(fresh[module + A])
        if rank != len(a):
            for name in (module + A, module + B):
                carried.pop(name + MOMENTUM, None)
                carried.pop(name + VARIANCE, None)
        if rank < len(a):
            a, b = shrink(a, b, rank)
            for name in [
                n for n in carried if n.startswith((module + A, module + B)) and KEPT_BY in n
            ]:
                del carried[name]
        elif rank > len(a):
            a = torch.cat([a, fresh[module + A][len(a) :]])
            b = torch.cat([b, torch.zeros_like(fresh[module + B][:, b.shape[1] :])], dim=1)
        carried[module + A], carried[module + B] = a.clone(), b.clone()
    return carried


def shrink(a: Tensor, b: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    r"""Closest factors of a lower rank.

    With :math:`B = Q_B R_B` and :math:`A^T = Q_A R_A`, the SVD of the small
    :math:`R_B R_A^T = U S V^T` gives that of :math:`B A`, which is never formed. Both factors
    take :math:`\sqrt S`.

    Parameters
    ----------
    a : Tensor, shape (r, in_features)
    b : Tensor, shape (out_features, r)
    rank : int
        Below r.

    Returns
    -------
    tuple of Tensor
        A and B of the lower rank, with the least Frobenius error in :math:`B A`
        (Eckart and Young, 1936).
    """
    q_b, r_b = torch.linalg.qr(b)
    q_a, r_a = torch.linalg.qr(a.T)
    u, s, vh = torch.linalg.svd(r_b @ r_a.T)
    root = s[:rank].sqrt()
    return (root[:, None] * vh[:rank]) @ q_a.T, (q_b @ u[:, :rank]) * root


def keep_layers(plan: Plan, state: Mapping[str, Tensor]) -> Plan:
    """Let the server keep what it has learnt on layers that the plan no longer adapts.

    Nobody trains them under the new plan, but the model still computes with them.
    """
    target = plan.model.targets[0].name
    ranks = list(plan.ranks)
    for layer, rank in enumerate(ranks):
        ending = f".{plan.model.module_name(layer, target)}{A}"
        held = next((t for name, t in state.items() if name.endswith(ending)), None)
        if not rank and held is not None:
            ranks[layer] = len(held)
    return replace(plan, ranks=ranks)
