"""How far a device has drifted from its profile, in one scalar.

Heat, clocks, other programs and a fresh process change all steps of a device by nearly the
same factor: the shape of its costs is stable, their scale drifts.
"""

import math
from collections.abc import Sequence
from statistics import median

from profiler.predict import step_s
from profiler.schema import InputError, StepTime

__all__ = ["Observed", "drift_scale"]

Observed = tuple[Sequence[int], float]


def drift_scale(time: StepTime, observed: Sequence[Observed]) -> float:
    """Observed over predicted seconds: the median over steps, so that a disturbed one is mute.

    Parameters
    ----------
    time : StepTime
        What was predicted.
    observed : sequence of (ranks, seconds)
        Rank by layer, input first, and the seconds of such a step.

    Raises
    ------
    InputError
        If nothing was observed, or a step took no time.
    """
    if not observed:
        raise InputError("no step was observed; expected at least one to rescale a profile")
    for ranks, seconds in observed:
        if not (seconds > 0 and math.isfinite(seconds)):
            raise InputError(
                f"a step with ranks {list(ranks)} took {seconds} s; expected more than 0"
            )
    return median(seconds / step_s(time, ranks) for ranks, seconds in observed)
