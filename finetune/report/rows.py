"""Devices of a plan as rows of a picture, few enough to see each."""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from finetune.report.words import printable
from solver.plan import InputError, Plan, PlannedDevice

__all__ = ["MOST_ROWS", "PARTS", "Row", "rows_of"]

MOST_ROWS = 120
PARTS = ("download", "compute", "upload", "latency", "wait")
"""A device's round from start to end, in the order in which it is drawn."""

Key = Callable[[PlannedDevice], Hashable]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One device, or several of a class shown as their mean.

    Attributes
    ----------
    name : str
        Device name, or '' where several are shown as one.
    device_class : str
        Class name; 'all classes' where they are shown as one.
    count : int
        Devices.
    depth : float or None
        Adapted layers; None if the row does not take part.
    ranks : tuple of float, length L
        Rank by layer, input first.
    seconds : dict of str to float
        Length of each of `PARTS`; empty if the row does not take part.
    memory_bytes, upload_bytes : float
        Of one device.
    """

    name: str
    device_class: str
    count: int
    depth: float | None
    ranks: tuple[float, ...]
    seconds: dict[str, float]
    memory_bytes: float
    upload_bytes: float

    @property
    def time_s(self) -> float:
        """Round time of the device itself, without the wait."""
        return sum(self.seconds.get(part, 0.0) for part in PARTS[:-1])


def rows_of(plan: Plan, most: int = MOST_ROWS) -> list[Row]:
    """Group the devices as finely as `most` rows allow, and sort them.

    By device, else by class and depth, else by class, else all together. Sorted by class
    name, within a class by depth and ranks, then by time.
    """
    for key in _keys(plan):
        groups: dict[Hashable, list[PlannedDevice]] = {}
        for device in plan.devices:
            groups.setdefault(key(device), []).append(device)
        if len(groups) <= most:
            break
    rows = sorted((_row(plan, group) for group in groups.values()), key=_order)
    for row in rows:
        if not math.isfinite(sum(row.seconds.values()) + row.memory_bytes + row.upload_bytes):
            raise InputError(
                f"device class '{printable(row.device_class, 60)}': predicted figures are too "
                "large to draw; check the plan with 'legend verify'"
            )
    return rows


def _keys(plan: Plan) -> tuple[Key, ...]:
    def depth(device: PlannedDevice) -> int:
        shape = plan.configuration_of(device)
        return -1 if shape is None else shape.depth

    return (
        id,
        lambda d: (d.device_class, depth(d)),
        lambda d: (d.device_class, d.configuration is None),
        lambda d: d.configuration is None,
    )


def _row(plan: Plan, group: Sequence[PlannedDevice]) -> Row:
    """Mean of a group, whose devices all take part or all do not."""
    first, count = group[0], sum(d.count for d in group)
    shapes = [(d.count, c) for d in group if (c := plan.configuration_of(d))]
    costs = [(d.count, d.predicted) for d in group if d.predicted]
    classes = {d.device_class for d in group}

    def mean(values: Sequence[tuple[int, float]]) -> float:
        return sum(n * value for n, value in values) / count

    whole = {
        part: mean([(n, getattr(p, f"{part}_s")) for n, p in costs])
        for part in ("download", "compute", "upload", "wait")
    }
    whole["latency"] = max(
        0.0,
        mean([(n, p.time_s - p.download_s - p.compute_s - p.upload_s) for n, p in costs]),
    )
    return Row(
        name=first.name if len(group) == 1 else "",
        device_class=first.device_class if len(classes) == 1 else "all classes",
        count=count,
        depth=mean([(n, c.depth) for n, c in shapes]) if shapes else None,
        ranks=tuple(
            mean([(n, c.ranks[layer]) for n, c in shapes]) for layer in range(plan.model.layers)
        ),
        seconds={part: whole[part] for part in PARTS} if costs else {},
        memory_bytes=mean([(n, p.memory_bytes) for n, p in costs]),
        upload_bytes=mean([(n, p.upload_bytes) for n, p in costs]),
    )


def _order(row: Row) -> tuple[str, float, tuple[float, ...], float, str]:
    depth = -1.0 if row.depth is None else row.depth
    return (row.device_class, depth, row.ranks, row.time_s, row.name)
