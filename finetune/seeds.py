"""Independent random streams, all from the one seed of a run.

Every random choice draws from a stream named by what it is for and, where it applies, by
round and device. So a resumed run needs no generator state, and two policies under one seed
share the test split, the partition, the sampled devices and the head's start.
"""

from enum import IntEnum

import numpy as np

__all__ = ["Stream", "generator", "torch_seed"]


class Stream(IntEnum):
    """What a random choice is for."""

    SPLIT = 0
    PARTITION = 1
    SAMPLE = 2
    BATCHES = 3
    DROPOUT = 4
    HEAD = 5
    ADAPTER = 6
    GROUPS = 7


def generator(seed: int, stream: Stream, *indices: int) -> np.random.Generator:
    """Generator of a stream; `indices` are, for instance, round and device."""
    return np.random.default_rng([seed, stream, *indices])


def torch_seed(seed: int, stream: Stream, *indices: int) -> int:
    """Seed for ``torch.manual_seed``, of 64 bits."""
    sequence = np.random.SeedSequence([seed, stream, *indices])
    return int(sequence.generate_state(1, np.uint64)[0])
