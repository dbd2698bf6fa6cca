"""A fleet as slow as its devices are at most in a share of a trace: to plan for what comes."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from profiler.predict import full_depth_step_s
from profiler.schema import DeviceTrace, Fleet, FleetDevice, InputError, Trace

__all__ = ["fleet_within"]

Floats = npt.NDArray[np.float64]


def fleet_within(fleet: Fleet, trace: Trace, share: float) -> Fleet:
    """Put every device into the state than which it is no worse for a share of the time.

    Each figure by itself: of the classes by the time of a step at full depth, of either
    bandwidth by its value. In that share of the rows, weighted by how long each lasts, a plan
    for this fleet keeps the device within the times it predicts, if all figures move together;
    where they do not, in less, but in no less than ``1 - 3 (1 - share)``.

    Parameters
    ----------
    fleet : Fleet
        The devices to begin with; those that the trace does not name stay as they are.
    trace : Trace
    share : float
        From 0, the best of all states, to 1, the worst.

    Returns
    -------
    Fleet
        All devices, also those that are away at times.

    Raises
    ------
    InputError
        If `share` is not from 0 to 1, or the trace names a device or class that the fleet does
        not have.
    """
    if not 0 <= share <= 1:
        raise InputError(f"a share of {share:g} of the trace; expected 0 to 1")
    trace.check_names(fleet)
    lasts = np.diff(np.array(trace.edges, dtype=float))
    step_s = {each.name: full_depth_step_s(each.time) for each in fleet.classes}
    changes = {each.name: each for each in trace.devices}
    devices = [
        _within(device, changes[device.name], share, lasts, step_s)
        if device.name in changes
        else device
        for device in fleet.devices
    ]
    return replace(fleet, devices=devices)


def _within(
    device: FleetDevice,
    change: DeviceTrace,
    share: float,
    lasts: Floats,
    step_s: Mapping[str, float],
) -> FleetDevice:
    found: dict[str, object] = {}
    if change.device_class:
        at = _at([step_s[name] for name in change.device_class], share, lasts)
        found["device_class"] = change.device_class[at]
    for name in ("uplink_bytes_per_s", "downlink_bytes_per_s"):
        if speeds := getattr(change, name):
            found[name] = speeds[_at([-speed for speed in speeds], share, lasts)]
    return replace(device, **found)


def _at(badness: list[float], share: float, lasts: Floats) -> int:
    """Row that is the worst of the share of the time that is best."""
    order = np.argsort(badness, kind="stable")
    passed = np.cumsum(lasts[order]) / lasts.sum()
    # Rounding must not ask for a row beyond the last.
    reached = int(np.searchsorted(passed, share * (1 - 1e-12)))
    return int(order[min(reached, len(order) - 1)])
