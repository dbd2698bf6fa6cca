"""Devices of a fleet as they are in a round: class, bandwidths, and whether they are there."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from profiler.schema import DeviceTrace, Fleet, FleetDevice, Trace
from solver.plan import InputError, Plan

__all__ = ["Conditions", "Moment", "check_plan"]

T = TypeVar("T")


class Moment(NamedTuple):
    """When a round begins: rounds played before it, and seconds on the clock."""

    round_index: int
    now_s: float = 0.0


class Conditions:
    """The devices of a fleet at any moment, under a trace or, without one, unchanging.

    A trace that ends before the run does begins again.

    Parameters
    ----------
    fleet : Fleet
        The devices to begin with; what a trace does not name stays as it is.
    trace : Trace, optional
        How they change, by round or by second.

    Raises
    ------
    InputError
        If the trace names a device or a class that the fleet lacks.
    """

    def __init__(self, fleet: Fleet, trace: Trace | None = None) -> None:
        self._fleet = fleet
        self._trace = trace
        self._changes = {d.name: d for d in trace.devices} if trace else {}
        if trace:
            _check_names(fleet, trace)

    def at(self, when: Moment) -> dict[str, FleetDevice]:
        """Devices available at a moment, by name, as they are then."""
        row = self._row(when)
        return {
            device.name: device if change is None else _changed(device, change, row)
            for device in self._fleet.devices
            for change in [self._changes.get(device.name)]
            if change is None or _value(change.available, row, True)
        }

    def next_s(self, when: Moment) -> float:
        """Seconds until anything changes; 0 where the trace counts rounds, or there is none."""
        trace = self._trace
        if trace is None or trace.unit == "rounds":
            return 0.0
        return trace.edges[self._row(when) + 1] - when.now_s % trace.edges[-1]

    def _row(self, when: Moment) -> int:
        if self._trace is None:
            return 0
        edges = self._trace.edges
        at = when.round_index if self._trace.unit == "rounds" else when.now_s
        return bisect_right(edges, at % edges[-1]) - 1


def check_plan(fleet: Fleet, plan: Plan) -> None:
    """Refuse a fleet that is not the one planned for; conditions may differ, devices not."""
    if (fleet.model, fleet.lora) != (plan.model, plan.lora):
        raise InputError(
            f"--fleet is for model '{fleet.model.name}' with other sizes than the plan's "
            f"'{plan.model.name}'; give the fleet that the plan was made for"
        )
    seen = [(d.name, d.count, d.examples) for d in fleet.devices]
    expected = [(d.name, d.count, d.examples) for d in plan.devices]
    for one, other in zip_longest(seen, expected):
        if one != other:
            raise InputError(
                f"--fleet has {_words(one)} where the plan has {_words(other)}; give the "
                "fleet that the plan was made for"
            )


def _words(device: tuple[str, int, int] | None) -> str:
    if device is None:
        return "no device"
    name, count, examples = device
    return f"{count} device(s) '{name}' of {examples} examples"


def _check_names(fleet: Fleet, trace: Trace) -> None:
    devices = {device.name for device in fleet.devices}
    classes = {device_class.name for device_class in fleet.classes}
    for change in trace.devices:
        if change.name not in devices:
            raise InputError(
                f"--trace changes device '{change.name}', which is not in the fleet; use the "
                "trace with the fleet that it was made for"
            )
        if unknown := set(change.device_class) - classes:
            raise InputError(
                f"--trace switches device '{change.name}' to class '{min(unknown)}', which is "
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
