"""Configurations that no fit has seen, for judging one."""

import random
from collections.abc import Callable, Sequence

__all__ = ["fold_of", "held_out"]

RANKS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
# Ranks of no probe, for adapters of one rank: probes are all of that shape.
UNPROBED = (3, 6, 12, 16, 24, 48)
FOLDS = 2


def held_out(layers: int, count: int, seed: int) -> list[list[int]]:
    """Choose rank lists over all depths: rising, mixed, of one rank, and falling.

    Parameters
    ----------
    layers : int
        L of the model.
    count : int
        How many; fewer where the model is too shallow for so many.
    seed : int
        Seed of the draw.

    Returns
    -------
    list of list of int, shape (C, L)
        Rank by layer, input first, shallow ones first. No probe of time or memory is among
        them, and none is twice.
    """
    source = random.Random(seed)
    chosen: list[list[int]] = []
    for index in range(count):
        depth = 1 + round(index * (layers - 1) / max(1, count - 1))
        shape = _SHAPES[index % len(_SHAPES)]
        for _ in range(len(RANKS)):
            ranks = [0] * (layers - depth) + shape(source, depth)
            if ranks not in chosen:
                chosen.append(ranks)
                break
    return chosen


def fold_of(index: int) -> int:
    """Half that a configuration belongs to: what is fitted on one is judged on the other."""
    return index % FOLDS


def _uneven(source: random.Random, depth: int) -> list[int]:
    if depth == 1:
        return _even(source, depth)
    while len(set(drawn := source.choices(RANKS, k=depth))) == 1:
        pass
    return drawn


def _even(source: random.Random, depth: int) -> list[int]:
    return [source.choice(UNPROBED)] * depth


def _rising(source: random.Random, depth: int) -> list[int]:
    return sorted(_uneven(source, depth))


def _falling(source: random.Random, depth: int) -> list[int]:
    return _rising(source, depth)[::-1]


_Shape = Callable[[random.Random, int], list[int]]
_SHAPES: Sequence[_Shape] = (_rising, _uneven, _even, _falling)
