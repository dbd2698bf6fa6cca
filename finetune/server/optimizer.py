"""Server optimizers: how far the server goes along the change that a round's devices joined.

An aggregation joins updates to an adapter; what it changes is taken for a step's negative
gradient. `fedavg` takes it as it is. The others remember earlier rounds, in tensors that the
server's state, hence a checkpoint, holds beside the adapter.
"""

from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from finetune.aggregate import Aggregation
from finetune.model.state import MOMENTUM, VARIANCE, State
from finetune.options import RunOptions
from solver.plan import InputError

__all__ = ["ServerOptimizer", "optimizer_for"]

# Defaults of Hsu et al. and of Reddi et al., who find few tasks that want others.
RATES = {"fedavg": 1.0, "fedavgm": 1.0, "fedadam": 1e-2, "fedyogi": 1e-2}
MEMORY_OF_SQUARES, ADAPTIVITY = 0.99, 1e-3


class ServerOptimizer(NamedTuple):
    r"""A step along the change :math:`\Delta` that a round comes to, coordinate by coordinate.

    ========== ==========================================================================
    `fedavg`   :math:`x \leftarrow x + \eta \Delta`
    `fedavgm`  :math:`m \leftarrow \beta m + \Delta,\; x \leftarrow x + \eta m`
    `fedadam`  :math:`m \leftarrow \beta m + (1-\beta) \Delta,\;
               v \leftarrow \beta_2 v + (1-\beta_2) \Delta^2,\;
               x \leftarrow x + \eta m / (\sqrt v + \tau)`
    `fedyogi`  the same with
               :math:`v \leftarrow v - (1-\beta_2) \Delta^2 \mathrm{sign}(v - \Delta^2)`
    ========== ==========================================================================

    with :math:`\beta_2 = 0.99`, :math:`\tau = 10^{-3}`, m from 0 and v from
    :math:`\tau^2`. A tensor that no device of the round holds stays as it is, and so does what
    is remembered of it.

    FedAvgM: Hsu, Qi, Brown, "Measuring the Effects of Non-Identical Data Distribution for
    Federated Visual Classification", arXiv 1909.06335. FedAdam, FedYogi: Reddi et al.,
    "Adaptive Federated Optimization", ICLR 2021, arXiv 2003.00295.

    Parameters
    ----------
    name : {"fedavg", "fedavgm", "fedadam", "fedyogi"}
    rate : float
        :math:`\eta`.
    momentum : float
        :math:`\beta`.
    """

    name: Literal["fedavg", "fedavgm", "fedadam", "fedyogi"] = "fedavg"
    rate: float = 1.0
    momentum: float = 0.9

    def step(
        self, before: State, joined: State, memory: Mapping[str, Tensor], held: Collection[str]
    ) -> State:
        """Where the server goes in place of `joined`, with what it remembers.

        Parameters
        ----------
        before, joined : State
            Before and after the aggregation.
        memory : State
            Holds what earlier rounds left, under names of its own.
        held : collection of str
            Tensors that some device of the round trained.
        """
        if self == ServerOptimizer():
            return joined
        after = dict(joined)
        for name in sorted(held):
            change = joined[name] - before[name]
            after |= self._moved(name, before[name], change, memory)
        return after

    def _moved(
        self, name: str, start: Tensor, change: Tensor, memory: Mapping[str, Tensor]
    ) -> State:
        """One tensor after the step, and what is remembered of it."""
        if self.name == "fedavg":
            return {name: start + self.rate * change}
        zero = torch.zeros_like(change)
        share = 1.0 if self.name == "fedavgm" else 1 - self.momentum
        m = self.momentum * memory.get(name + MOMENTUM, zero) + share * change
        if self.name == "fedavgm":
            return {name: start + self.rate * m, name + MOMENTUM: m}
        v = self._squares(memory.get(name + VARIANCE, zero + ADAPTIVITY**2), change.square())
        moved = start + self.rate * m / (v.sqrt() + ADAPTIVITY)
        return {name: moved, name + MOMENTUM: m, name + VARIANCE: v}

    def _squares(self, v: Tensor, square: Tensor) -> Tensor:
        """What is remembered of the squares of changes."""
        if self.name == "fedadam":
            return torch.lerp(square, v, MEMORY_OF_SQUARES)
        return v - (1 - MEMORY_OF_SQUARES) * square * torch.sign(v - square)


def optimizer_for(options: RunOptions, name: str, aggregation: Aggregation) -> ServerOptimizer:
    """Server optimizer of a run; raises `InputError` where the aggregation allows none.

    Parameters
    ----------
    options : RunOptions
    name : str
        Of the aggregation, for the message.
    aggregation : Aggregation
        Must leave coordinates in place: else a round's change of them means nothing.
    """
    chosen = options.server_optimizer
    rate = options.server_learning_rate
    optimizer = ServerOptimizer(
        chosen, RATES[chosen] if rate is None else rate, options.server_momentum
    )
    plain = chosen == "fedavg" and optimizer.rate == 1
    in_place = aggregation.keeps_coordinates and not aggregation.changes_base
    if not (plain or in_place):
        raise InputError(
            f"--server-optimizer {chosen} at rate {optimizer.rate:g} needs an aggregation that "
            f"leaves every rank in its place; '{name}' does not. Use --aggregation layerwise, "
            "or leave it out"
        )
    return ServerOptimizer() if plain else optimizer
