"""What a benchmark says a kernel takes, and what the parts of a training step take with it.

A step is recorded by closed form (`profiler.closed_form.simulate`), so that its products,
streams, functions and random numbers are known part by part. Priced at the rates of a device,
the parts say how that device's time divides among them, and how two devices compare.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from profiler.closed_form.simulate import Setting, SimulatedStep, simulate_step
from profiler.closed_form.tape import Cost
from profiler.microbench.file import Backend, Benchmark, Kernel, Kind

__all__ = ["PARTS", "Rates", "part_times"]

PARTS = ("embedding", "forward", "head", "backward_top", "backward", "lora")
LOW_RANK = 8
HIGH_RANK = 64
# Depths of the recorded steps; from the third adapted layer on all cost the same.
DEPTHS = (2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spent:
    """CPU seconds of the thread that runs a step, and of all threads together."""

    own_s: float
    process_s: float

    def __add__(self, other: "_Spent") -> "_Spent":
        return _Spent(
            own_s=self.own_s + other.own_s, process_s=self.process_s + other.process_s
        )

    def __sub__(self, other: "_Spent") -> "_Spent":
        return self + other.times(-1.0)

    def times(self, factor: float) -> "_Spent":
        """Both, `factor` times."""
        return _Spent(own_s=factor * self.own_s, process_s=factor * self.process_s)


class Rates:
    """Prices kernels at the speed of one device.

    Parameters
    ----------
    benchmark : Benchmark
        The device.
    backend : {'numpy', 'torch'}
        Which library's kernels count.
    """

    def __init__(self, benchmark: Benchmark, backend: Backend) -> None:
        kernels = benchmark.of(backend)
        self._own = _Prices(kernels, "call_s")
        self._process = _Prices(kernels, "process_s")
        self._quota_cores = benchmark.quota_cores or math.inf

    def spent(self, work: Iterable[Cost]) -> _Spent:
        """CPU time of some kernels."""
        costs = tuple(work)
        return _Spent(
            own_s=sum(map(self._own.seconds, costs)),
            process_s=sum(map(self._process.seconds, costs)),
        )

    def seconds(self, spent: _Spent) -> float:
        """How long that takes; a quota lets serial work pay for the parallel work beside it."""
        return max(spent.own_s, spent.process_s / self._quota_cores)


class _Prices:
    """CPU seconds of kernels on one clock."""

    def __init__(self, kernels: Sequence[Kernel], clock: str) -> None:
        seconds = attrgetter(clock)
        # Products of little arithmetic a byte are slower; copies, where they leave the cache.
        self._s_per_flop = _Curve(
            (k.flops / k.traffic_bytes, seconds(k) / k.flops) for k in _of(kernels, "product")
        )
        self._s_per_byte = _Curve(
            (k.traffic_bytes, seconds(k) / k.traffic_bytes) for k in _of(kernels, "copy")
        )
        self._s_per_function, self._s_per_random_number = (
            math.exp(np.mean([math.log(seconds(k) / k.elements) for k in _of(kernels, kind)]))
            for kind in ("function", "random")
        )

    def seconds(self, cost: Cost) -> float:
        """Seconds of one kernel."""
        if cost.flops:
            return cost.flops * self._s_per_flop(cost.flops / cost.traffic_bytes)
        if not cost.traffic_bytes:
            return 0.0
        stream_s = cost.traffic_bytes * self._s_per_byte(cost.traffic_bytes)
        drawn_s = cost.random_numbers * self._s_per_random_number
        return max(stream_s, cost.functions * self._s_per_function) + drawn_s


class _Curve:
    """Price by size, straight between the points of a log-log plot and flat beyond them."""

    def __init__(self, points: Iterable[tuple[float, float]]) -> None:
        sizes, prices = zip(*sorted(points), strict=True)
        self._sizes, self._prices = np.log(sizes), np.log(prices)

    def __call__(self, size: float) -> float:
        return math.exp(np.interp(math.log(size), self._sizes, self._prices))


def _of(kernels: Sequence[Kernel], kind: Kind) -> list[Kernel]:
    return [kernel for kernel in kernels if kernel.kind == kind]


def part_times(setting: Setting, rates: Rates) -> dict[str, float]:
    """Seconds of every part of a step, as `profiler.schema.StepTime` divides it.

    Parameters
    ----------
    setting : Setting
        Model and training.
    rates : Rates
        Speed of the device.

    Returns
    -------
    dict of str to float
        By `PARTS`; ``lora`` is for one rank of one layer, all but ``embedding`` and ``head``
        for one layer.
    """
    bare = simulate_step(setting, [0])
    layer = rates.spent(bare.layers[0])
    top = _added(simulate_step(setting, [0, LOW_RANK]), rates)
    low, deep = (_added(simulate_step(setting, [0] + [LOW_RANK] * k), rates) for k in DEPTHS)
    wide_low, wide_deep = (
        _added(simulate_step(setting, [0] + [HIGH_RANK] * k), rates) for k in DEPTHS
    )
    lora = ((wide_deep - wide_low) - (deep - low)).times(1 / (HIGH_RANK - LOW_RANK))
    # A step adds its adapted layers; what they take when bare, or for their rank, is apart.
    apart = layer + lora.times(LOW_RANK)
    after = rates.spent((*bare.backward, *bare.optimizer))
    parts = {
        "embedding": rates.spent(bare.embedding),
        "forward": layer,
        "head": rates.spent(bare.head) + after,
        "backward_top": top - apart - after,
        "backward": deep - low - apart,
        "lora": lora,
    }
    return {part: rates.seconds(parts[part]) for part in PARTS}


def _added(step: SimulatedStep, rates: Rates) -> _Spent:
    """Adapted layers both ways, and all else that runs backward."""
    layers = [kernel for layer in step.layers[1:] for kernel in layer]
    return rates.spent((*layers, *step.backward, *step.optimizer))
