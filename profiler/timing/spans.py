"""From timed steps to seconds of an idle machine, with the noise in them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from profiler.probes import Sample, Seconds

# An undisturbed step waits a little for its other threads; more than this is other programs.
UNDISTURBED = 1.1

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Seconds of each configuration on an idle device.

    Attributes
    ----------
    seconds, noise_fraction : array, shape (C,)
        Mean of the lower half of its steps, and the relative standard error of that mean.
    wall_per_cpu : float
        Wall seconds an undisturbed step takes for one CPU second of its main thread; 1 on a
        GPU.
    busy_fraction : float
        How much longer than that the median step took: other work on the machine.

    Notes
    -----
    A planner wants the wall seconds of a device that does nothing else. The CPU seconds of
    the main thread are nearly that, and hold still when other programs take the cores: with
    four busy programs on two cores wall time tripled while they stayed within 8 %. They are
    scaled by the ratio to wall seconds in the least disturbed tenth of all steps; where not
    even those were undisturbed, the two are taken as equal.
    """

    seconds: Floats
    noise_fraction: Floats
    wall_per_cpu: float
    busy_fraction: float


def summarise(samples: Sequence[Sample], count: int) -> Timings:
    """Reduce the samples of `count` configurations; warm-up is left out."""
    timed = [s for s in samples if s.round >= 0]
    ratio, busy = _wall_per_cpu(timed)
    steps = [span_s([s.step for s in timed if s.probe == i], ratio) for i in range(count)]
    return Timings(
        seconds=np.array([low_mean(values) for values in steps]),
        noise_fraction=np.array([_standard_error(values) for values in steps]),
        wall_per_cpu=ratio,
        busy_fraction=busy,
    )


def span_s(spans: Sequence[Seconds], ratio: float) -> Floats:
    """Seconds of spans on an idle device, given its wall seconds by CPU second."""
    return np.array([s.cpu_s * ratio if s.cpu_s else s.wall_s for s in spans])


def low_mean(values: Floats) -> float:
    """Mean of the lower half: what disturbs a step can only make it longer."""
    return float(np.sort(values)[: (len(values) + 1) // 2].mean())


def _wall_per_cpu(samples: Sequence[Sample]) -> tuple[float, float]:
    """Ratio of the clocks when undisturbed, and how far the median lies above it."""
    cpu = np.array([s.step.cpu_s for s in samples])
    if not cpu.all():
        return 1.0, 0.0
    ratios = np.array([s.step.wall_s for s in samples]) / cpu
    least = float(np.quantile(ratios, 0.1))
    ratio = least if least < UNDISTURBED else 1.0
    return ratio, float(np.median(ratios)) / ratio - 1


def _standard_error(values: Floats) -> float:
    low = np.sort(values)[: (len(values) + 1) // 2]
    if len(low) < 2:
        return float(abs(values.mean() / values.min() - 1))
    return float(low.std(ddof=1) / np.sqrt(len(low)) / low.mean())
