"""States of random adapters, and updates that hold them."""

import torch

from finetune.exchange.updates import Update
from finetune.model.state import State

WIDTH = 5


def state_of(ranks: dict[str, int], seed: int) -> State:
    generator = torch.Generator().manual_seed(seed)
    state = {"head.weight": torch.randn(2, WIDTH, generator=generator)}
    for module, rank in ranks.items():
        state[f"{module}.lora_A.weight"] = torch.randn(rank, WIDTH, generator=generator)
        state[f"{module}.lora_B.weight"] = torch.randn(WIDTH, rank, generator=generator)
    return state


def update(name: str, examples: int, state: State, received: State | None = None) -> Update:
    zeros = {key: torch.zeros_like(tensor) for key, tensor in state.items()}
    return Update(name, examples, received or zeros, state, 0.5)
