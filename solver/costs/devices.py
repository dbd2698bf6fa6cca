"""Devices as columns, so that a million of them are a few arrays and not a million objects."""

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from msgspec import UNSET

from profiler.schema import LIMITS, Fleet, limit_of
from solver.errors import FleetError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """N rows of devices; a row may stand for `count` devices alike.

    Parameters
    ----------
    names : list of str, length N
    class_index : array of int, shape (N,)
        Row of the device's class in the class tables.
    count : array of int, shape (N,)
    uplink_bytes_per_s, downlink_bytes_per_s : array, shape (N,)
    latency_s : array, shape (N,)
    examples, local_steps : array of int, shape (N,)
    memory_bytes : array, shape (N,)
        Memory it may use; infinite where there is no limit.
    storage_bytes : array, shape (N,)
        Storage for cached layer outputs; 0 where there is none.
    time_scale : array, shape (N,)
        Observed over profiled compute time.
    upload_limit_bytes, download_limit_bytes : array, shape (N,), or None
        Most that each device sends and receives in a round, by its own limit or its class's;
        infinite where it has none, None where nobody has one.
    energy_limit_j, time_limit_s : array, shape (N,), or None
        Most energy, and longest time, of each device in a round; as above.
    """

    names: list[str]
    class_index: Ints
    count: Ints
    uplink_bytes_per_s: Floats
    downlink_bytes_per_s: Floats
    latency_s: Floats
    examples: Ints
    local_steps: Ints
    memory_bytes: Floats
    storage_bytes: Floats
    time_scale: Floats
    upload_limit_bytes: Floats | None = None
    download_limit_bytes: Floats | None = None
    energy_limit_j: Floats | None = None
    time_limit_s: Floats | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, where: slice) -> Self:
        return type(self)(names=self.names[where], **self._rows(where))

    def select(self, indices: Ints) -> Self:
        """Rows at these indices."""
        names = [self.names[i] for i in indices.tolist()]
        return type(self)(names=names, **self._rows(indices))

    def _rows(self, where: slice | Ints) -> dict[str, Any]:
        """Some rows of every column but the names; limits that nobody has stay None."""
        columns = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "names"}
        return {name: v if v is None else v[where] for name, v in columns.items()}

    @classmethod
    def of(cls, fleet: Fleet) -> Self:
        """Columns of a fleet's devices, in its order."""
        index = {c.name: i for i, c in enumerate(fleet.classes)}
        rows = fleet.devices

        def floats(field: str) -> Floats:
            return np.array([getattr(d, field) for d in rows], dtype=np.float64)

        def ints(field: str) -> Ints:
            try:
                return np.array([getattr(d, field) for d in rows], dtype=np.int64)
            except OverflowError:
                name = max(rows, key=lambda d: int(getattr(d, field))).name
                raise FleetError(
                    f"device '{name}': {field} is above 2^63; expected a number of {field}"
                ) from None

        memory = floats("memory_bytes")
        memory[memory == 0] = np.inf
        return cls(
            names=[d.name for d in rows],
            class_index=np.array([index[d.device_class] for d in rows], dtype=np.int64),
            count=ints("count"),
            uplink_bytes_per_s=floats("uplink_bytes_per_s"),
            downlink_bytes_per_s=floats("downlink_bytes_per_s"),
            latency_s=floats("latency_s"),
            examples=ints("examples"),
            local_steps=ints("local_steps"),
            memory_bytes=memory,
            storage_bytes=floats("storage_bytes"),
            time_scale=floats("time_scale"),
            **_own_limits(fleet),
        )


def _own_limits(fleet: Fleet) -> dict[str, Floats]:
    """Limits of devices' own or of their classes, by field, of those that somebody has."""
    classes = {c.name: c for c in fleet.classes}
    found = {}
    for field in LIMITS:
        # Most fleets have none, and may have a million devices.
        listed = (*fleet.classes, *fleet.devices)
        if all(getattr(each, field) is UNSET for each in listed):
            continue
        each = [limit_of(d, classes[d.device_class], field) for d in fleet.devices]
        if any(limit is not None for limit in each):
            found[field] = np.array([np.inf if limit is None else limit for limit in each])
    return found
