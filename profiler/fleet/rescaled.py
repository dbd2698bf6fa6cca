"""Costs of catalogue devices from a profile measured elsewhere.

The shape of the costs is the measured one; only the scale of the time is derived.
"""

import math
from collections.abc import Sequence

import msgspec

from profiler.closed_form.families import READERS
from profiler.closed_form.roofline import step_time
from profiler.configs import Config, naming
from profiler.derive import profiled_config, setting_for
from profiler.hardware import Hardware
from profiler.predict import full_depth_step_s
from profiler.schema import DeviceClass, InputError, Origin, Profile, StepTime

__all__ = ["rescaled_classes"]


def rescaled_classes(
    profile: Profile, model: str, hardware: Sequence[Hardware]
) -> tuple[list[DeviceClass], dict[str, Origin]]:
    """Classes of catalogue devices in the proportions of a profile.

    Parameters
    ----------
    profile : Profile
        Measured on another device, or derived for one.
    model : str
        Preset name or folder of the profile's model; empty where it is not at hand.
    hardware : sequence of Hardware
        Devices and power modes, one a class.

    Returns
    -------
    tuple of (list of DeviceClass, dict of str to Origin)
        The classes in the order of `hardware`, and where their figures come from.

    Raises
    ------
    InputError
        If `model` is another model than the profile's.
    """
    config, note = profiled_config(profile, model)
    with naming(model):
        classes = [_rescaled(profile, config, device) for device in hardware]
    return classes, _origins(profile, note)


def _rescaled(profile: Profile, config: Config, device: Hardware) -> DeviceClass:
    """Measured shape, derived scale.

    The time of every part is multiplied by the ratio of the closed-form step on the device
    to the measured step, both adapting all layers.
    """
    known = profile.model.family in READERS
    targets = [t.name for t in profile.model.targets] if known else []
    setting = setting_for(config, profile.training, device, targets)
    derived = step_time(setting, device)
    measured = full_depth_step_s(profile.time)
    if measured <= 0:
        raise InputError("profile: a full step takes 0 s; expected measured times")
    ratio = full_depth_step_s(derived) / measured
    memory = msgspec.structs.replace(profile.memory, framework_bytes=device.framework_bytes)
    error = math.hypot(profile.time.error_fraction, device.error_fraction)
    return DeviceClass(
        name=device.label,
        device=device.device(),
        time=_scaled(profile.time, ratio, error),
        memory=memory,
    )


def _scaled(time: StepTime, ratio: float, error_fraction: float) -> StepTime:
    """All parts of a step, `ratio` times as long."""
    return StepTime(
        embedding_s=time.embedding_s * ratio,
        forward_s=[t * ratio for t in time.forward_s],
        head_s=time.head_s * ratio,
        backward_s=[t * ratio for t in time.backward_s],
        lora_s_per_rank=[t * ratio for t in time.lora_s_per_rank],
        error_fraction=error_fraction,
    )


def _origins(profile: Profile, note: str) -> dict[str, Origin]:
    own = dict(profile.provenance.origins)
    kind = own["time"].kind if "time" in own else "measured"
    host = f"{profile.device.name} ({profile.device.mode})"
    own["time"] = Origin(
        kind="derived",
        source=f"shape {kind} on {host}; scale by the ratio of the closed-form step on each "
        f"device to that step, from {note}",
    )
    own["memory"] = Origin(
        kind="derived", source=f"{kind} on {host}; framework_bytes from the catalogue"
    )
    return own
