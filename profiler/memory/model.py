"""Peak memory of every depth and rank from a few exact counts.

Per phase the model is affine: a table by depth plus a slope by rank.
"""

from collections.abc import Callable

import numpy as np

from profiler.anatomy import Anatomy
from profiler.checkpoint import Checkpoint
from profiler.memory.count import Peaks, probe
from profiler.probes import ranks_at
from profiler.schema import DepthCost, Memory, Training

# Ranks of the probes: the slope between them holds for the ranks people use.
LOW_RANK = 4
HIGH_RANK = 32


def memory_model(
    checkpoint: Checkpoint,
    anatomy: Anatomy,
    training: Training,
    advance: Callable[[], None] = lambda: None,
) -> Memory:
    """Predict the peak of every depth and rank from a few exact probes.

    Peaks are affine in the ranks and, from depth 1 to L - 1, in the depth; at depth L the
    input of the layers need not be kept, so the ends of that range and L are probed. A model
    of unlike blocks is probed at every depth. ``framework_bytes`` is left 0: it belongs to a
    process, not to the step.

    Parameters
    ----------
    checkpoint, anatomy, training
        The model and the training step.
    advance : callable
        Called after each of `probe_count(anatomy)` probes.
    """

    def peaks_at(depth: int, rank: int) -> Peaks:
        ranks = ranks_at(anatomy.model.layers, depth, rank)
        found = probe(checkpoint, anatomy, training, ranks)
        advance()
        return found

    low = {depth: peaks_at(depth, LOW_RANK) for depth in _low_depths(anatomy)}
    high = {depth: peaks_at(depth, HIGH_RANK) for depth in _high_depths(anatomy)}
    depth, rank = _held_out(anatomy)
    witness = peaks_at(depth, rank)

    def affine(phase: str) -> DepthCost:
        return _affine(
            anatomy.model.layers,
            {k: getattr(p, phase) for k, p in low.items()},
            {k: getattr(p, phase) for k, p in high.items()},
        )

    phases = {n: affine(n) for n in ("forward_bytes", "backward_bytes", "optimizer_bytes")}
    frozen = low[1].frozen_bytes
    predicted = frozen + max(
        p.by_depth[depth] + rank * sum(p.per_rank[-depth:]) for p in phases.values()
    )
    saved = affine("saved_bytes").by_depth
    return Memory(
        weights_bytes=frozen,
        framework_bytes=0,
        activation_bytes=[max(0.0, float(d)) for d in np.diff(saved)[::-1]],
        error_fraction=abs(predicted / witness.peak_bytes - 1),
        **phases,
    )


def probe_count(anatomy: Anatomy) -> int:
    """Number of probes that `memory_model` runs."""
    return len(_low_depths(anatomy)) + len(_high_depths(anatomy)) + 1


def _low_depths(anatomy: Anatomy) -> list[int]:
    layers = anatomy.model.layers
    few = {0, 1, min(2, layers), layers - 1, layers}
    return sorted(few if anatomy.uniform else range(layers + 1))


def _high_depths(anatomy: Anatomy) -> list[int]:
    layers = anatomy.model.layers
    return sorted({1, layers} if anatomy.uniform else range(1, layers + 1))


def _held_out(anatomy: Anatomy) -> tuple[int, int]:
    return max(1, anatomy.model.layers * 2 // 3), (LOW_RANK + HIGH_RANK) // 2


def _affine(layers: int, low: dict[int, int], high: dict[int, int]) -> DepthCost:
    """Fit ``by_depth`` and ``per_rank`` to bytes by depth at the two probed ranks."""
    slopes = {k: (high[k] - low[k]) / (HIGH_RANK - LOW_RANK) for k in high}
    depths = range(layers + 1)
    # slope[k]: bytes that one rank on each of the last k layers adds.
    slope = np.interp(depths, [0, *slopes], [0.0, *slopes.values()])
    at_low = np.interp(depths, list(low), list(low.values()))
    per_rank = np.maximum(np.diff(slope)[::-1], 0.0)
    summed = np.concatenate([[0.0], np.cumsum(per_rank[::-1])])
    return DepthCost(
        by_depth=[max(0.0, float(v)) for v in at_low - LOW_RANK * summed],
        per_rank=[float(v) for v in per_rank],
    )
