"""A fleet as it stands at one moment of a trace."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import TypeVar

from msgspec.structs import replace

from profiler.schema import DeviceTrace, Fleet, FleetDevice, InputError, Trace

__all__ = ["fleet_at"]

T = TypeVar("T")


def fleet_at(fleet: Fleet, trace: Trace, at: float) -> Fleet:
    """Put the devices of a fleet into the state that a trace gives them.

    Parameters
    ----------
    fleet : Fleet
        The devices to begin with; those that the trace does not name stay as they are.
    trace : Trace
    at : float
        Round, counted from 0, or seconds since the start, as the trace counts.

    Returns
    -------
    Fleet
        With the devices that are available, in the order of `fleet`.

    Raises
    ------
    InputError
        If `at` lies outside the trace, nobody is available then, or the trace names a device
        or class that the fleet does not have.

    Notes
    -----
    A trace does not go on by itself: to repeat it, ask for ``at % trace.edges[-1]``.
    """
    row = _row(trace, at)
    changes = {device.name: device for device in trace.devices}
    _check_names(fleet, trace)
    devices = [
        device if change is None else _changed(device, change, row)
        for device in fleet.devices
        for change in [changes.get(device.name)]
        if change is None or _value(change.available, row, True)
    ]
    if not devices:
        raise InputError(f"no device is available at {at:g} {trace.unit} of the trace")
    return replace(fleet, devices=devices)


def _row(trace: Trace, at: float) -> int:
    end = trace.edges[-1]
    if not 0 <= at < end:
        raise InputError(
            f"{at:g} {trace.unit} lies outside the trace; expected 0 up to, without, {end:g}"
        )
    return bisect_right(trace.edges, at) - 1


def _check_names(fleet: Fleet, trace: Trace) -> None:
    devices = {device.name for device in fleet.devices}
    classes = {device_class.name for device_class in fleet.classes}
    for change in trace.devices:
        if change.name not in devices:
            raise InputError(
                f"trace: device '{change.name}' is not in the fleet; use the trace with the "
                "fleet that it was made for"
            )
        unknown = set(change.device_class) - classes
        if unknown:
            raise InputError(
                f"trace: device '{change.name}' switches to class '{min(unknown)}', which is "
                "not in the fleet; make the fleet with --all-modes"
            )


def _changed(device: FleetDevice, change: DeviceTrace, row: int) -> FleetDevice:
    return replace(
        device,
        device_class=_value(change.device_class, row, device.device_class),
        uplink_bytes_per_s=_value(change.uplink_bytes_per_s, row, device.uplink_bytes_per_s),
        downlink_bytes_per_s=_value(
            change.downlink_bytes_per_s, row, device.downlink_bytes_per_s
        ),
    )


def _value(values: Sequence[T], row: int, otherwise: T) -> T:
    return values[row] if values else otherwise
