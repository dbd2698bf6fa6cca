"""Fleets from and to pandas, with the columns of `profiler.fleet_csv`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from profiler.derive import DEFAULT_TRAINING
from profiler.fleet_csv import check_header
from profiler.fleet_files import TableRequest, rows_fleet
from profiler.fleet_rows import BYTES_PER_GB, BYTES_PER_GIB, BYTES_PER_S_PER_MBIT
from profiler.schema import Fleet, Profile, Training

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["devices_frame", "fleet_from_frame"]


def fleet_from_frame(
    devices: "pd.DataFrame",
    *,
    profiles: Sequence[Profile] = (),
    model: str = "",
    training: Training = DEFAULT_TRAINING,
    local_steps: int = 10,
    storage_bytes: int = 0,
) -> Fleet:
    """Build a fleet from a frame of devices.

    Parameters
    ----------
    devices : pandas.DataFrame
        One row a device, or several alike; columns as in `profiler.fleet_csv`. A missing
        value takes the column's default. An index called ``name`` counts as a column.
    profiles : sequence of Profile
        Costs by device class, measured or derived; none means the hardware catalogue.
    model, training : str, Training
        For the catalogue: what is trained, a preset name or a folder, and how.
    local_steps : int
        Training steps a round where the frame does not say.
    storage_bytes : int
        Storage for cached layer outputs where the frame does not say.

    Raises
    ------
    InputError
        With one line for every bad cell; rows are counted as in a file, from 2.
    """
    owner = "frame"
    frame = devices.reset_index() if devices.index.name == "name" else devices
    check_header(owner, [str(column) for column in frame.columns])
    text = frame.astype(object).where(frame.notna(), "")
    rows = [{str(k): str(v) for k, v in row.items()} for row in text.to_dict("records")]
    request = TableRequest(
        path=None,
        profiles=profiles,
        profile_paths=[],
        model=model,
        training=training,
        local_steps=local_steps,
        storage_bytes=storage_bytes,
        options={},
    )
    return rows_fleet(request, rows, owner)


def devices_frame(fleet: Fleet) -> "pd.DataFrame":
    """Devices of a fleet, one row each by name, with the columns that `fleet_from_frame` takes.

    Memory without a limit is missing there, and so would become the device's own.
    """
    import pandas as pd

    rows = [
        {
            "name": d.name,
            "class": d.device_class,
            "uplink_mbit_per_s": d.uplink_bytes_per_s / BYTES_PER_S_PER_MBIT,
            "downlink_mbit_per_s": d.downlink_bytes_per_s / BYTES_PER_S_PER_MBIT,
            "latency_s": d.latency_s,
            "examples": d.examples,
            "local_steps": d.local_steps,
            "memory_gib": d.memory_bytes / BYTES_PER_GIB if d.memory_bytes else None,
            "storage_gb": d.storage_bytes / BYTES_PER_GB,
            "count": d.count,
            "time_scale": d.time_scale,
        }
        for d in fleet.devices
    ]
    return pd.DataFrame(rows).set_index("name")
