"""Memory of training by closed form: the peak of each phase by depth and rank.

A few steps on the symbolic tape give the table. Peaks are affine in the ranks and, between
depth 2 and L - 1, in the depth; the ends have steps of their own because the lowest adapted
layer keeps less and at depth L no bare layer is left.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise

from profiler.closed_form.architectures import head_linears
from profiler.closed_form.quantised import stored_bytes
from profiler.closed_form.simulate import Setting, SimulatedStep, simulate_step
from profiler.schema import DepthCost, Memory

__all__ = ["MEMORY_ERROR_FRACTION", "memory_by_closed_form"]

# Ranks of the simulated steps; the slope between them holds for the ranks in use.
LOW_RANK = 4
HIGH_RANK = 32

# Allocators round and fragment, and the framework's share is an estimate.
MEMORY_ERROR_FRACTION = 0.1


def memory_by_closed_form(setting: Setting, framework_bytes: float) -> Memory:
    """Predict the peak memory of every depth and rank.

    Parameters
    ----------
    setting : Setting
        Model, training and kind of processor.
    framework_bytes : float
        Process and libraries before the model.
    """
    layers = setting.architecture.layers
    depths = sorted({0, 1, min(2, layers), max(0, layers - 1), layers})
    low = {k: _step(setting, k, LOW_RANK) for k in depths}
    high = {k: _step(setting, k, HIGH_RANK) for k in depths if k > 0}

    def cost(field: str) -> DepthCost:
        return _affine(
            layers,
            {k: float(getattr(step, field)) for k, step in low.items()},
            {k: float(getattr(step, field)) for k, step in high.items()},
        )

    saved = cost("saved_bytes").by_depth
    return Memory(
        weights_bytes=float(frozen_bytes(setting)),
        framework_bytes=framework_bytes,
        activation_bytes=[max(0.0, b - a) for a, b in pairwise(saved)][::-1],
        forward_bytes=cost("forward_bytes"),
        backward_bytes=cost("backward_bytes"),
        optimizer_bytes=cost("optimizer_bytes"),
        error_fraction=MEMORY_ERROR_FRACTION,
    )


def frozen_bytes(setting: Setting) -> int:
    """Frozen weights; PEFT keeps the head's initial weights beside the trained ones."""
    head = sum(m.parameters for m in head_linears(setting.architecture, setting.training))
    frozen = setting.architecture.frozen_parameters(setting.training.task)
    if setting.training.base_dtype == "same":
        return (frozen + head) * setting.itemsize
    modules = setting.architecture.linears
    small = setting.architecture.layers * stored_bytes(modules)
    weights = sum(m.in_features * m.out_features for m in modules)
    return (frozen + head - setting.architecture.layers * weights) * setting.itemsize + small


def _step(setting: Setting, depth: int, rank: int) -> SimulatedStep:
    bare = setting.architecture.layers - depth
    return simulate_step(setting, [0] * bare + [rank] * depth)


def _affine(layers: int, low: Mapping[int, float], high: Mapping[int, float]) -> DepthCost:
    """Table by depth and slope by rank through the simulated steps."""
    slopes = {0: 0.0} | {k: (high[k] - low[k]) / (HIGH_RANK - LOW_RANK) for k in high}
    at_low, slope = interpolate(low), interpolate(slopes)
    per_rank = [max(0.0, slope(k) - slope(k - 1)) for k in range(1, layers + 1)]
    summed = [0.0, *accumulate(per_rank)]
    by_depth = [max(0.0, at_low(k) - LOW_RANK * summed[k]) for k in range(layers + 1)]
    return DepthCost(by_depth=by_depth, per_rank=per_rank[::-1])


def interpolate(points: Mapping[int, float]) -> Callable[[int], float]:
    """Piecewise linear function through `points`, defined between the outermost."""
    knots: Sequence[int] = sorted(points)

    def value(x: int) -> float:
        left = max(k for k in knots if k <= x)
        right = min(k for k in knots if k >= x)
        if left == right:
            return points[left]
        share = (x - left) / (right - left)
        return points[left] + share * (points[right] - points[left])

    return value
