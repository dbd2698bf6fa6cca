"""A fleet in all its power modes, and traces of it."""

from typing import Any

from profiler.fleet import FleetRequest, preset_fleet
from profiler.schema import DeviceTrace, Provenance, Trace

ORIGIN = Provenance(version="0", created="2026-01-01", host="test")
FLEET = preset_fleet(FleetRequest(devices=12, all_modes=True, options={}))
FIRST, SECOND = FLEET.devices[:2]


def trace_of(*devices: DeviceTrace, **edges: Any) -> Trace:
    return Trace(
        provenance=ORIGIN,
        devices=list(devices),
        **(edges or {"edge_rounds": [0, 1, 4]}),
    )
