"""How devices change from round to round or from second to second: ``legend/trace/1``."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from msgspec import Meta
from msgspec.structs import replace

from profiler.files import InputError, read
from profiler.schema.base import Base, NonNegative, Positive, finite, length
from profiler.schema.fleet import Fleet, FleetDevice
from profiler.schema.origins import Provenance

TRACE_SCHEMA = "legend/trace/1"

T = TypeVar("T")


class DeviceTrace(Base, frozen=True, kw_only=True):
    """What changes about one device, row by row of its trace.

    A list that is empty says that the fleet file holds all along.
    """

    name: Annotated[str, Meta(description="name of the device in the fleet", min_length=1)]
    uplink_bytes_per_s: Annotated[list[Positive], Meta(description="upload speed, by row")] = []
    downlink_bytes_per_s: Annotated[
        list[Positive], Meta(description="download speed, by row")
    ] = []
    device_class: Annotated[
        list[str], Meta(description="class of the fleet, such as a power mode, by row")
    ] = []
    available: Annotated[list[bool], Meta(description="whether it takes part, by row")] = []

    def check_rows(self, rows: int) -> None:
        """Raise ValueError unless every list that is not empty has so many entries."""
        for field in DeviceTrace.__struct_fields__[1:]:
            values = getattr(self, field)
            if values:
                owner = f"device '{self.name}'"
                length(owner, rows, **{field: values})
                finite(owner, **{field: values})

    def at(self, row: int, device: FleetDevice) -> FleetDevice | None:
        """The device as it is in a row; None where it is away."""
        if not _value(self.available, row, True):
            return None
        return replace(
            device,
            device_class=_value(self.device_class, row, device.device_class),
            uplink_bytes_per_s=_value(self.uplink_bytes_per_s, row, device.uplink_bytes_per_s),
            downlink_bytes_per_s=_value(
                self.downlink_bytes_per_s, row, device.downlink_bytes_per_s
            ),
        )


def _value(values: Sequence[T], row: int, otherwise: T) -> T:
    return values[row] if values else otherwise


class Trace(Base, frozen=True, kw_only=True):
    """How the devices of a fleet change: ``legend/trace/1``.

    Every figure is a step function. Row m holds from edge m on, until just before edge
    m + 1, so M rows have M + 1 edges. Edges are rounds or seconds, never both.
    """

    schema: Literal["legend/trace/1"] = "legend/trace/1"
    provenance: Provenance
    edge_rounds: Annotated[
        list[Annotated[int, Meta(ge=0)]],
        Meta(description="rounds, counted from 0, at which rows begin, and the last one's end"),
    ] = []
    edge_s: Annotated[
        list[NonNegative],
        Meta(description="seconds since the start at which rows begin, and the last one's end"),
    ] = []
    devices: Annotated[
        list[DeviceTrace],
        Meta(description="devices that change; all others stay as in the fleet"),
    ]

    def __post_init__(self) -> None:
        if bool(self.edge_rounds) == bool(self.edge_s):
            raise ValueError("trace: expected either edge_rounds or edge_s")
        finite("trace", edge_s=self.edge_s)
        if len(self.edges) < 2 or self.edges[0] != 0:
            raise ValueError("trace: edges must begin at 0 and be two or more")
        if any(a >= b for a, b in pairwise(self.edges)):
            raise ValueError("trace: edges must rise strictly")
        seen = set[str]()
        for device in self.devices:
            device.check_rows(len(self.edges) - 1)
            if device.name in seen:
                raise ValueError(f"trace: device '{device.name}' appears twice")
            seen.add(device.name)

    @property
    def unit(self) -> Literal["rounds", "s"]:
        """What the edges count."""
        return "rounds" if self.edge_rounds else "s"

    @property
    def edges(self) -> Sequence[float]:
        """Edges in their unit, shape (M + 1,)."""
        return self.edge_rounds or self.edge_s

    def devices_at(self, at: float, fleet: Fleet) -> list[FleetDevice]:
        """Devices of a fleet that are there at a round or second, as they are then."""
        row = bisect_right(self.edges, at) - 1
        changes = {device.name: device for device in self.devices}
        found = (
            changes[device.name].at(row, device) if device.name in changes else device
            for device in fleet.devices
        )
        return [device for device in found if device is not None]

    def check_names(self, fleet: Fleet) -> None:
        """Raise `InputError` if it names a device or a class that the fleet does not have."""
        devices = {device.name for device in fleet.devices}
        classes = {device_class.name for device_class in fleet.classes}
        for change in self.devices:
            if change.name not in devices:
                raise InputError(
                    f"the trace changes device '{change.name}', which is not in the fleet; use "
                    "the trace with the fleet that it was made for"
                )
            if unknown := set(change.device_class) - classes:
                raise InputError(
                    f"the trace switches device '{change.name}' to class '{min(unknown)}', "
                    "which is not in the fleet; make the fleet with --all-modes"
                )


def read_trace(path: Path | str) -> Trace:
    """Read a trace; raises `InputError`."""
    return read(path, Trace, TRACE_SCHEMA, "Make one with 'legend fleet --trace'.")
