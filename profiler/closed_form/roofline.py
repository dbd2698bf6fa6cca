"""Step time by closed form: every kernel takes as long as its slowest resource.

A kernel is bound by arithmetic, by memory traffic or by the time to launch it (Williams,
Waterman and Patterson, "Roofline", CACM 52(4), 2009). In LoRA training the frozen weights
need no gradient, so the backward pass of a layer costs about one forward pass, not two,
and the lowest adapted layer less; both follow from the recorded step.
"""

from collections.abc import Iterable
from itertools import pairwise

from profiler.closed_form.simulate import Setting, SimulatedStep, simulate_step
from profiler.closed_form.tape import Cost
from profiler.hardware import Hardware
from profiler.schema import InputError, StepTime

__all__ = ["step_time"]

# Part of the data sheet's memory bandwidth that streaming kernels reach. An estimate; STREAM
# results of most machines lie between 0.7 and 0.9.
STREAM_FRACTION = 0.8

LOW_RANK = 8
HIGH_RANK = 64
# From the third layer on every further layer costs the same.
DISTINCT_DEPTHS = 3


def step_time(setting: Setting, hardware: Hardware) -> StepTime:
    """Predict the seconds of a training step on a device of the catalogue.

    Parameters
    ----------
    setting : Setting
        Model and training.
    hardware : Hardware
        Device and power mode.
    """
    clock = _Clock(setting, hardware)
    layers = setting.architecture.layers
    low = [clock.step_s(k, LOW_RANK) for k in range(min(layers, DISTINCT_DEPTHS) + 1)]
    high = [clock.step_s(k, HIGH_RANK) for k in range(len(low))]
    span = HIGH_RANK - LOW_RANK
    slopes = [(high[k] - low[k]) / span for k in range(len(low))]
    # The bottom adapted layer's rank is a little cheaper, whichever layer that is; one slope
    # for all keeps costs proportional to the layers' sizes, so that planning is exact.
    slope = max(0.0, slopes[-1] - slopes[-2])
    at_rank_0 = [t - LOW_RANK * k * slope for k, t in enumerate(low)]
    bare = clock.simulated(0, LOW_RANK)
    return StepTime(
        embedding_s=clock.seconds(bare.embedding),
        forward_s=[clock.seconds(bare.layers[0])] * layers,
        head_s=clock.seconds((*bare.head, *bare.backward, *bare.optimizer)),
        backward_s=_marginal(at_rank_0, layers),
        lora_s_per_rank=[slope] * layers,
        error_fraction=hardware.error_fraction,
    )


def _marginal(by_depth: list[float], layers: int) -> list[float]:
    """Differences of a table by depth, by layer from the input; the last one repeats."""
    steps = [max(0.0, b - a) for a, b in pairwise(by_depth)]
    steps += [steps[-1]] * (layers - len(steps))
    return steps[::-1]


class _Clock:
    """Seconds of simulated steps on one device."""

    def __init__(self, setting: Setting, hardware: Hardware) -> None:
        self.setting = setting
        self.launch_s = hardware.kernel_launch_s
        self.bytes_per_s = hardware.bandwidth_bytes_per_s * STREAM_FRACTION
        self.flop_per_s = hardware.reached_flop_per_s(setting.training.dtype)
        if self.flop_per_s == 0:
            raise InputError(
                f"{hardware.label}: computes no {setting.training.dtype}; "
                f"it has {', '.join(hardware.types)}; name one that all devices have (--dtype)"
            )

    def simulated(self, depth: int, rank: int) -> SimulatedStep:
        """A step with one bare layer below the adapted ones."""
        return simulate_step(self.setting, [0] + [rank] * depth)

    def step_s(self, depth: int, rank: int) -> float:
        """Seconds above a bare forward pass of the same layers."""
        step = self.simulated(depth, rank)
        adapted = [kernel for layer in step.layers[1:] for kernel in layer]
        work = (*adapted, *step.backward, *step.optimizer)
        return self.seconds(work) - depth * self.seconds(step.layers[0])

    def seconds(self, work: Iterable[Cost]) -> float:
        """Each kernel at the pace of its slowest resource."""
        return sum(
            max(
                cost.flops / self.flop_per_s,
                cost.traffic_bytes / self.bytes_per_s,
                self.launch_s if cost.traffic_bytes else 0.0,
            )
            for cost in work
        )
