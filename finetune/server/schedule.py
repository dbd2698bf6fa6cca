"""Learning rate over the rounds."""

import math

from finetune.options import RunOptions

__all__ = ["HALVING", "learning_rate"]

# Rounds after which the rate of "inverse-sqrt" is half of what it was.
HALVING = 30


def learning_rate(options: RunOptions, round_index: int, now_s: float = 0.0) -> float:
    """Learning rate of a round.

    Over the warm-up rounds it rises in equal steps to the full rate, which the round after
    them trains with. From there it stays; or falls with the square root of the rounds, to half
    of it after `HALVING` rounds, whenever the run may end; or falls to 0 where the run ends, be
    that after its last round or at its limit of time: linearly, or as half a cosine
    (Loshchilov and Hutter, "SGDR", arXiv 1608.03983, without restarts).

    Parameters
    ----------
    options : RunOptions
    round_index : int
        Counts from 0.
    now_s : float
        Virtual seconds before the round.
    """
    warmup = options.warmup_rounds
    if round_index < warmup:
        return options.learning_rate * (round_index + 1) / (warmup + 1)
    if options.schedule == "constant":
        return options.learning_rate
    if options.schedule == "inverse-sqrt":
        return options.learning_rate / math.sqrt(1 + 3 * (round_index - warmup) / HALVING)
    passed = (round_index - warmup) / (options.rounds - warmup)
    if options.time_limit_s is not None:
        passed = max(passed, now_s / options.time_limit_s)
    if options.schedule == "linear":
        return options.learning_rate * (1 - passed)
    return options.learning_rate * (1 + math.cos(math.pi * passed)) / 2
