"""Stacking into the base (FLoRA)."""

import math
from collections.abc import Sequence

import torch

from finetune.aggregate.mean import weighted_mean
from finetune.aggregate.products import stack_of
from finetune.aggregate.protocol import Aggregation
from finetune.exchange.updates import Update
from finetune.model.state import DELTA, A, B, State, lora_modules
from finetune.seeds import Stream, generator

__all__ = ["Flora"]


class Flora(Aggregation):
    r"""Stack all adapters, add the stack to the base, and start fresh adapters: exact.

    .. math:: \Delta W \leftarrow \Delta W + [B_1, B_2, \ldots]\,[p_1 A_1; p_2 A_2; \ldots],
              \qquad B \leftarrow 0, \quad A \sim U(-1/\sqrt{in}, 1/\sqrt{in})

    A device downloads no adapter: it draws the fresh A itself, from the run's seed and the
    round. It downloads the stacks of all rounds since it was last asked, for the layers that
    it adapts (or their sum, out x in, where that is smaller), and the head. With everybody
    asked in every round that is what a plan with ``download: stacked`` predicts, but for the
    first round, which has no stack yet; a sampled round's stack is smaller, and a device
    that is asked rarely has several to fetch. The virtual clock charges what is fetched.

    The server keeps the sum as ``base_delta``, a float32 matrix as large as the weight of
    each adapted module, in memory and in every checkpoint; and exports it as an adapter of
    the rank that it needs.

    Wang et al., "FLoRA: Federated Fine-Tuning Large Language Models with Heterogeneous
    Low-Rank Adaptations", NeurIPS 2024, arXiv 2409.05976. Ours: the weights p are those of
    the devices that hold the module.

    Parameters
    ----------
    seed : int
        Seed of the fresh adapters.
    """

    changes_base = True
    hands_out_adapters = False
    keeps_coordinates = False

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def join(self, server: State, updates: Sequence[Update], round_index: int) -> State:
        """Add the stacks to the base, and draw the adapters of the next round."""
        joined = dict(server)
        random = generator(self.seed, Stream.ADAPTER, round_index)
        for name, tensor in server.items():
            if not name.endswith((A, B, DELTA)):
                joined[name] = weighted_mean(name, updates, tensor)
        for module in lora_modules(server):
            a, b = server[module + A], server[module + B]
            width = 1 / math.sqrt(a.shape[1])
            joined[module + A] = torch.from_numpy(random.uniform(-width, width, a.shape)).to(a)
            joined[module + B] = torch.zeros_like(b)
            if stack := stack_of(module, updates):
                added = stack.b @ stack.a
                old = server.get(module + DELTA)
                joined[module + DELTA] = added if old is None else old + added
        return joined

    def base_rank(self, ranks: Sequence[int]) -> int:
        """All of them, stacked."""
        return sum(ranks)
