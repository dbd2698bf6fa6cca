"""One scalar that keeps a profile true: the shape of costs is stable, their scale drifts.

Heat, clocks, other programs and a fresh process change all steps of a device by nearly the
same factor, so a few observed steps correct every prediction.
"""

import math
from collections.abc import Sequence
from statistics import median

from msgspec.structs import replace

from profiler.predict import step_s
from profiler.schema import InputError, Origin, Profile, StepTime

__all__ = ["Observed", "drift_scale", "rescaled", "scaled_time"]

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


def scaled_time(time: StepTime, scale: float) -> StepTime:
    """Every coefficient times `scale`."""
    return replace(
        time,
        embedding_s=scale * time.embedding_s,
        forward_s=[scale * s for s in time.forward_s],
        head_s=scale * time.head_s,
        backward_s=[scale * s for s in time.backward_s],
        lora_s_per_rank=[scale * s for s in time.lora_s_per_rank],
    )


def rescaled(profile: Profile, observed: Sequence[Observed]) -> Profile:
    """Correct a profile by observed steps; its shape and its uncertainty stay.

    Where the observed steps scatter more than the profile's uncertainty says, that is raised.

    Parameters
    ----------
    profile : Profile
        Measured, derived or transferred.
    observed : sequence of (ranks, seconds)
        Steps run on the device; see `drift_scale`.
    """
    scale = drift_scale(profile.time, observed)
    time = scaled_time(profile.time, scale)
    misses = [seconds / step_s(time, ranks) - 1 for ranks, seconds in observed]
    scatter = math.hypot(*misses) / math.sqrt(len(misses))
    made = profile.provenance
    before = made.origins.get("time", Origin(kind="derived", source="unknown"))
    total = scale * float(made.options.get("time_drift_scale", "1"))
    source = f"{before.source}; times {scale:.4f} by {len(observed)} observed steps"
    return replace(
        profile,
        time=replace(time, error_fraction=max(time.error_fraction, scatter)),
        provenance=replace(
            made,
            options={**made.options, "time_drift_scale": f"{total:.6f}"},
            origins={**made.origins, "time": replace(before, source=source)},
        ),
    )
