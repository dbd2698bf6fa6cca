"""Torch in a state in which the same run gives the same bits."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

__all__ = ["deterministic"]


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Let torch use only algorithms that give the same bits again, and keep its generator."""
    before = torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    # Nothing here reads memory it did not write, and filling it costs time.
    memory.fill_uninitialized_memory = False
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.use_deterministic_algorithms(before)
        memory.fill_uninitialized_memory = fill
