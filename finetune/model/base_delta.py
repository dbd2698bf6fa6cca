"""Changes of the base's weights by an aggregation (FLoRA, FedEx-LoRA)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from finetune.model.base import Base

__all__ = ["BaseDelta"]

PREFIX = "base_model.model."


class BaseDelta:
    r"""Puts :math:`W + s\,\Delta W` into the shared base, always from the original W.

    So the base is the same bits whatever was applied before, and a resumed run goes on as if
    it had never stopped. Originals are kept for the modules that change, and only those. A
    device that does not adapt a layer sees its original weight there, so that what is below
    its first adapted layer never changes.

    Parameters
    ----------
    base : Base
        Shared by all replicas, which see the change.
    scaling : float
        LoRA scale alpha / r.
    """

    def __init__(self, base: Base, scaling: float) -> None:
        self._base = base
        self._scaling = scaling
        self._original: dict[str, Tensor] = {}
        self._applied: dict[str, Tensor] = {}

    def apply(self, deltas: Mapping[str, Tensor]) -> None:
        """Set the weight of every module: changed where `deltas` names it, else original."""
        for module in self._applied.keys() - deltas.keys():
            self._weight(module).copy_(self._original[module])
            del self._applied[module]
        for module, delta in deltas.items():
            if self._applied.get(module) is delta:
                continue
            weight = self._weight(module)
            original = self._original.setdefault(module, weight.clone())
            # GPT-2's Conv1D holds its weight transposed.
            change = delta if _is_linear(self._module(module)) else delta.T
            weight.copy_(original.float() + self._scaling * change)
            self._applied[module] = delta

    def _module(self, name: str) -> nn.Module:
        return self._base.model.get_submodule(name.removeprefix(PREFIX))

    def _weight(self, name: str) -> Tensor:
        weight = self._module(name).weight
        assert isinstance(weight, torch.Tensor)
        return weight.detach()


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear)
