"""Learning rate over the rounds."""

import math

from finetune.options import RunOptions

__all__ = ["learning_rate"]


def learning_rate(options: RunOptions, round_index: int) -> float:
    """Learning rate of a round, which counts from 0.

    Over the warm-up rounds it rises in equal steps to the full rate, which the round after
    them trains with. From there it stays, or falls to 0 after the last round: linearly, or as
    half a cosine (Loshchilov and Hutter, "SGDR", arXiv 1608.03983, without restarts).
    """
    warmup = options.warmup_rounds
    if round_index < warmup:
        return options.learning_rate * (round_index + 1) / (warmup + 1)
    if options.schedule == "constant":
        return options.learning_rate
    passed = (round_index - warmup) / (options.rounds - warmup)
    if options.schedule == "linear":
        return options.learning_rate * (1 - passed)
    return options.learning_rate * (1 + math.cos(math.pi * passed)) / 2
