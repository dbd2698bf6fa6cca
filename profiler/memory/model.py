"""Peak memory of every depth and rank from a few exact counts.

Per phase the model is affine: a table by depth plus a slope by rank.
"""

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from profiler.anatomy import Anatomy
from profiler.checkpoint import Checkpoint
from profiler.memory.count import Peaks, probe
from profiler.probes import ranks_at
from profiler.schema import DepthCost, Memory, Training

# Ranks of the probes: the slope between them holds for the ranks people use.
LOW_RANK = 4
HIGH_RANK = 32
PHASES = ("forward_bytes", "backward_bytes", "optimizer_bytes")
# What a witness may be off before deep probes are made: alignment and scalars.
SLACK_BYTES = 64

Floats = npt.NDArray[np.float64]


def memory_model(
    checkpoint: Checkpoint,
    anatomy: Anatomy,
    training: Training,
    advance: Callable[[], None] = lambda: None,
) -> Memory:
    """Predict the peak of every depth and rank from a few exact probes.

    Peaks are affine in the ranks and, from depth 1 to L - 1, in the depth; at depth L the
    input of the layers need not be kept. So shallow probes, which are cheap, and depth L say
    everything. One more probe in between is a witness: where a phase misses it, the deep end
    of the range and the slope at L are probed as well. A model of unlike blocks is probed at
    every depth. ``framework_bytes`` is left 0: it belongs to a process, not to the step.

    Parameters
    ----------
    checkpoint, anatomy, training
        The model and the training step.
    advance : callable
        Called after each of the first `probe_count(anatomy)` probes.
    """
    layers = anatomy.model.layers

    def peaks_at(depth: int, rank: int) -> Peaks:
        return probe(checkpoint, anatomy, training, ranks_at(layers, depth, rank))

    def peaks_by_depth(depths: Iterable[int], rank: int) -> dict[int, Peaks]:
        found = {}
        for depth in depths:
            found[depth] = peaks_at(depth, rank)
            advance()
        return found

    low = peaks_by_depth(_low_depths(anatomy), LOW_RANK)
    high = peaks_by_depth(_high_depths(anatomy), HIGH_RANK)
    depth, rank = _held_out(anatomy)
    witness = peaks_at(depth, rank)
    advance()
    phases = _phases(layers, low, high)
    if anatomy.uniform and any(
        abs(_at(phases[name], depth, rank) - getattr(witness, name)) > SLACK_BYTES
        for name in PHASES
    ):
        low |= {k: peaks_at(k, LOW_RANK) for k in {layers - 1} - low.keys()}
        high |= {k: peaks_at(k, HIGH_RANK) for k in {layers} - high.keys()}
        phases = _phases(layers, low, high)
    frozen = low[1].frozen_bytes
    predicted = frozen + max(_at(phase, depth, rank) for phase in phases.values())
    saved = _affine(layers, *({k: p.saved_bytes for k, p in by.items()} for by in (low, high)))
    return Memory(
        weights_bytes=frozen,
        framework_bytes=0,
        activation_bytes=[max(0.0, float(d)) for d in np.diff(saved.by_depth)[::-1]],
        error_fraction=abs(predicted / witness.peak_bytes - 1),
        **phases,
    )


def probe_count(anatomy: Anatomy) -> int:
    """Number of probes that `memory_model` runs, unless the witness asks for more."""
    return len(_low_depths(anatomy)) + len(_high_depths(anatomy)) + 1


def _low_depths(anatomy: Anatomy) -> list[int]:
    layers = anatomy.model.layers
    # With two or three layers, depth 2 is the end of the range or beyond it.
    few = {0, 1, max(1, min(2, layers - 1)), layers}
    return sorted(few if anatomy.uniform else range(layers + 1))


def _high_depths(anatomy: Anatomy) -> list[int]:
    layers = anatomy.model.layers
    return sorted({1, min(2, layers)} if anatomy.uniform else range(1, layers + 1))


def _held_out(anatomy: Anatomy) -> tuple[int, int]:
    return max(1, anatomy.model.layers * 2 // 3), (LOW_RANK + HIGH_RANK) // 2


def _phases(layers: int, low: dict[int, Peaks], high: dict[int, Peaks]) -> dict[str, DepthCost]:
    return {
        name: _affine(
            layers,
            {k: getattr(p, name) for k, p in low.items()},
            {k: getattr(p, name) for k, p in high.items()},
        )
        for name in PHASES
    }


def _at(cost: DepthCost, depth: int, rank: int) -> float:
    """Cost of the last `depth` layers at one rank."""
    return cost.by_depth[depth] + rank * sum(cost.per_rank[len(cost.per_rank) - depth :])


def _affine(layers: int, low: dict[int, int], high: dict[int, int]) -> DepthCost:
    """Fit ``by_depth`` and ``per_rank`` to bytes by depth at the two probed ranks."""
    slopes = {k: (high[k] - low[k]) / (HIGH_RANK - LOW_RANK) for k in sorted(high)}
    # slope[k]: bytes that one rank on each of the last k layers adds.
    slope = _by_depth(layers, {0: 0.0, **slopes}, layers)
    # At depth L a tensor less may live, so the line of the other depths ends before it.
    at_low = _by_depth(layers, {k: float(low[k]) for k in sorted(low)}, layers - 1)
    per_rank = np.maximum(np.diff(slope)[::-1], 0.0)
    summed = np.concatenate([[0.0], np.cumsum(per_rank[::-1])])
    return DepthCost(
        by_depth=[max(0.0, float(v)) for v in at_low - LOW_RANK * summed],
        per_rank=[float(v) for v in per_rank],
    )


def _by_depth(layers: int, known: dict[int, float], last: int) -> Floats:
    """Values at depths 0..L, linear between the known ones; the last two lead on to `last`."""
    inside = [k for k in known if k <= last]
    if len(inside) >= 2 and inside[-1] < last:
        a, b = inside[-2:]
        known = known | {last: known[b] + (known[b] - known[a]) / (b - a) * (last - b)}
    depths = sorted(known)
    return np.interp(range(layers + 1), depths, [known[k] for k in depths])
