"""One adapter of an adapter and a changed base."""

import torch
from torch import Tensor

from finetune.model.state import DELTA, A, B, State, adapter_of
from solver.plan import Plan

__all__ = ["fold"]

# Singular values below this share of the largest are rounding errors of float32 sums.
NEGLIGIBLE = 1e-6


def fold(plan: Plan, server: State, prefix: str) -> tuple[State, list[int]]:
    r"""Put what was added to the base into the adapters, at the rank that it needs.

    .. math:: \Delta W + B A = U S V^T \;\Rightarrow\; B' = U S, \; A' = V^T

    with all singular values above rounding, so that the adapter on the published base is the
    server's model. A configuration has one rank a layer: the modules of a layer get the
    largest rank that one of them needs, padded with zeros.

    Parameters
    ----------
    plan : Plan
        Names the modules.
    server : State
        The server's state.
    prefix : str
        What stands before the modules' names in the state.

    Returns
    -------
    State
        Adapters and head.
    list of int, shape (L,)
        Rank by layer; those of the plan where the base has not changed.
    """
    adapter, ranks = adapter_of(server), list(plan.ranks)
    for layer, rank in enumerate(ranks):
        names = [plan.model.module_name(layer, target.name) for target in plan.model.targets]
        modules = [prefix + name for name in names]
        if rank and any(module + DELTA in server for module in modules):
            folded, ranks[layer] = _layer(server, modules)
            adapter |= folded
    return adapter, ranks


def _layer(server: State, modules: list[str]) -> tuple[State, int]:
    """Fold the modules of a layer; all get the largest rank."""
    parts = {
        module: _factors(server[module + B], server[module + A], server.get(module + DELTA))
        for module in modules
    }
    rank = max(len(a) for _, a in parts.values())
    folded = {}
    for module, (b, a) in parts.items():
        missing = rank - len(a)
        folded[module + B] = torch.nn.functional.pad(b, (0, missing)).contiguous()
        folded[module + A] = torch.nn.functional.pad(a, (0, 0, 0, missing)).contiguous()
    return folded, rank


def _factors(b: Tensor, a: Tensor, delta: Tensor | None) -> tuple[Tensor, Tensor]:
    """Factors of ``delta + b @ a``, of the least rank but 1 or more."""
    if delta is None:
        return b, a
    product = delta.double() + b.double() @ a.double()
    u, s, vh = torch.linalg.svd(product, full_matrices=False)
    kept = max(int((s > NEGLIGIBLE * s[0]).sum()), 1)
    return (u[:, :kept] * s[:kept]).to(b), vh[:kept].to(a)
