"""What is limited beside round time and memory, as rows of resources: the one place for it.

Limits of the question hold for all devices alike, limits of devices' own (or of their classes)
for each by itself. Both are rows, so the smaller binds, and whoever goes through the resources
of a fleet (methods, policies, explanations, programs) keeps them without knowing of either. A
limit on a device's own time is not the round time, whose row methods put other limits in: its
row stays what it is.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from profiler.schema import Fleet
from solver.costs.devices import Devices, Floats
from solver.costs.resource import Resource
from solver.costs.wires import Wires, alike
from solver.errors import FleetError
from solver.links.graph import Traffic
from solver.plan import Question

__all__ = ["MAX_DEPTH", "OWN", "OWN_ENERGY", "OWN_TIME", "Own", "limited"]

MAX_DEPTH = "greatest depth"
OWN_TIME, OWN_ENERGY = "own time", "own energy"


class Own(NamedTuple):
    """A limit of devices' own: its field in `Devices`, its unit, what one more of it is."""

    field: str
    unit: str
    step_words: str
    step: float


# By the name of its resource.
OWN = {
    "own upload": Own("upload_limit_bytes", "bytes", "MB of own upload", 1e6),
    "own download": Own("download_limit_bytes", "bytes", "MB of own download", 1e6),
    OWN_ENERGY: Own("energy_limit_j", "J", "joule of own energy", 1.0),
    OWN_TIME: Own("time_limit_s", "s", "second of own time", 1.0),
}


def limited(
    fleet: Fleet, question: Question, devices: Devices, seconds: Resource, wires: Wires
) -> list[Resource]:
    """Rows of the question's limits on upload, download, energy and depth, and devices' own.

    Parameters
    ----------
    fleet : Fleet
    question : Question
    devices : Devices
    seconds : Resource
        Round time.
    wires : Wires

    Raises
    ------
    FleetError
        If energy is limited where nobody knows what a device draws.
    """
    n, budgets = len(devices), question.budgets
    asked = {
        "upload": budgets.upload_bytes,
        "download": budgets.download_bytes,
        "energy": budgets.energy_j,
    }
    rows = [
        _row(fleet, devices, seconds, wires, name, alike(limit, n))
        for name, limit in asked.items()
        if limit is not None
    ]
    if question.max_depth is not None and question.max_depth < fleet.model.layers:
        rows.append(_depth(fleet, n, question.max_depth))
    for name, own in OWN.items():
        limit = getattr(devices, own.field)
        if limit is not None and np.isfinite(limit).any():
            rows.append(_row(fleet, devices, seconds, wires, name, limit))
    return rows


def _row(
    fleet: Fleet,
    devices: Devices,
    seconds: Resource,
    wires: Wires,
    name: str,
    limit: Floats,
) -> Resource:
    if name == OWN_TIME:
        return replace(seconds, name=name, limit=limit)
    kind = name.removeprefix("own ")
    if kind == "energy":
        return _energy(fleet, devices, seconds, wires, name, limit)
    return _traffic(fleet, name, wires.sent if kind == "upload" else wires.received, limit)


def _energy(
    fleet: Fleet,
    devices: Devices,
    seconds: Resource,
    wires: Wires,
    name: str,
    limit: Floats,
) -> Resource:
    """Draw of the device while it computes, and radio energy of all bytes.

    Refused where a draw is not known: it would count as nothing and pass any limit.
    """
    c = devices.class_index
    power_w, radio = (
        np.array([getattr(k.device, f) for k in fleet.classes])[c]
        for f in ("power_w", "radio_j_per_byte")
    )
    unknown = np.flatnonzero((power_w == 0) & np.isfinite(limit))
    if len(unknown):
        first = int(unknown[0])
        owner = fleet.classes[int(c[first])].name
        kept, remedy = "no budget on energy can be kept", "no budget on energy"
        if name == OWN_ENERGY:
            device = devices.names[first]
            kept = f"the limit on energy of device '{device}' cannot be kept"
            remedy = f"take it away (--set 'device={device},energy_j=none', or of its class)"
        raise FleetError(
            f"class '{owner}': its draw under load, device.power_w, is not known, so {kept}; "
            f"give watts above 0 (--set 'class={owner},power_w=W'), or {remedy}"
        )
    sent, received = wires.sent, wires.received
    flat = sent.flat + received.flat
    return replace(
        seconds,
        name=name,
        unit="J",
        scale=seconds.scale * power_w,
        offset=(sent.fixed + received.fixed) * radio,
        wire=(sent.width + received.width) * radio,
        limit=limit,
        saving=None if seconds.saving is None else seconds.saving * power_w,
        flat=flat * radio if flat else None,
    )


def _traffic(fleet: Fleet, name: str, way: Traffic, limit: Floats) -> Resource:
    """Upload or download."""
    n = len(limit)
    return replace(
        _counted(fleet, n, name, "bytes", limit),
        offset=way.fixed,
        wire=alike(way.width, n),
        flat=alike(way.flat, n) if way.flat else None,
    )


def _depth(fleet: Fleet, n: int, limit: int) -> Resource:
    """Adapted layers, as a resource: so every method keeps a greatest depth."""
    layers = fleet.model.layers
    by_depth = np.tile(np.arange(layers + 1.0), (len(fleet.classes), 1))
    return replace(_counted(fleet, n, MAX_DEPTH, "layers", alike(limit, n)), by_depth=by_depth)


def _counted(fleet: Fleet, n: int, name: str, unit: str, limit: Floats) -> Resource:
    """What costs nothing yet."""
    classes, layers = len(fleet.classes), fleet.model.layers
    return Resource(
        name=name,
        unit=unit,
        by_depth=np.zeros((classes, layers + 1)),
        per_rank=np.zeros((classes, layers)),
        scale=alike(1.0, n),
        offset=alike(0.0, n),
        wire=alike(0.0, n),
        limit=limit,
    )
