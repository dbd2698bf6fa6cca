"""Fleets from and to pandas, with the columns of `profiler.fleet.table`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from profiler.derive import DEFAULT_TRAINING
from profiler.fleet.files import TableRequest, rows_fleet
from profiler.fleet.rows import LINK_SPEEDS
from profiler.fleet.table import (
    LINK_OPTIONAL,
    LINK_REQUIRED,
    OPTIONAL,
    REQUIRED,
    check_header,
    links_of,
)
from profiler.schema import LIMIT_COLUMNS, Fleet, Profile, Training, limit_of
from profiler.units import BYTES_PER_GB, BYTES_PER_S_PER_MBIT

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["devices_frame", "fleet_from_frame", "links_frame"]

OWNER, LINKS_OWNER = "frame", "frame of links"


def fleet_from_frame(
    devices: "pd.DataFrame",
    *,
    profiles: Sequence[Profile] = (),
    model: str = "",
    training: Training = DEFAULT_TRAINING,
    targets: Sequence[str] = (),
    local_steps: int = 10,
    storage_bytes: int = 0,
    links: "pd.DataFrame | None" = None,
) -> Fleet:
    """Build a fleet from a frame of devices.

    Parameters
    ----------
    devices : pandas.DataFrame
        One row a device, or several alike; columns as in `profiler.fleet.table`. A missing
        value takes the column's default. An index called ``name`` counts as a column.
    profiles : sequence of Profile
        Costs by device class, measured or derived; none means the hardware catalogue.
    model, training, targets : str, Training, sequence of str
        For the catalogue: what is trained, a preset name or a folder, how, and the adapted
        modules, by name or role; none for those that PEFT adapts.
    local_steps : int
        Training steps a round where the frame does not say.
    storage_bytes : int
        Storage for cached layer outputs where the frame does not say.
    links : pandas.DataFrame, optional
        One row a link that devices share; columns as there. Empty is as good as none.

    Raises
    ------
    InputError
        With one line for every bad cell; rows are counted as in a file, from 2.
    """
    rows = _rows(devices, OWNER, REQUIRED, OPTIONAL)
    shared = []
    if links is not None and len(links):
        shared = links_of(_rows(links, LINKS_OWNER, LINK_REQUIRED, LINK_OPTIONAL), LINKS_OWNER)
    request = TableRequest(
        path=None,
        profiles=profiles,
        profile_paths=[],
        model=model,
        training=training,
        targets=targets,
        local_steps=local_steps,
        storage_bytes=storage_bytes,
        options={},
    )
    return rows_fleet(request, rows, OWNER, shared, LINKS_OWNER)


def _rows(
    table: "pd.DataFrame", owner: str, required: Sequence[str], optional: Sequence[str]
) -> list[dict[str, str]]:
    """Rows as the cells of a file, by column."""
    frame = table.reset_index() if table.index.name == "name" else table
    check_header(owner, [str(column) for column in frame.columns], required, optional)
    text = frame.astype(object).where(frame.notna(), "")
    return [{str(k): str(v) for k, v in row.items()} for row in text.to_dict("records")]


def devices_frame(fleet: Fleet) -> "pd.DataFrame":
    """Devices of a fleet, one row each by name, with the columns that `fleet_from_frame` takes.

    Memory without a limit is missing there, and so would become the device's own. Limits of a
    class are said of its devices. Links that devices share are another frame: `links_frame`.
    """
    import pandas as pd

    classes = {c.name: c for c in fleet.classes}
    rows = [
        {
            "name": d.name,
            "class": d.device_class,
            "uplink_mbit_per_s": d.uplink_bytes_per_s / BYTES_PER_S_PER_MBIT,
            "downlink_mbit_per_s": d.downlink_bytes_per_s / BYTES_PER_S_PER_MBIT,
            "latency_s": d.latency_s,
            "examples": d.examples,
            "local_steps": d.local_steps,
            "memory_gb": d.memory_bytes / BYTES_PER_GB if d.memory_bytes else None,
            "storage_gb": d.storage_bytes / BYTES_PER_GB,
            "count": d.count,
            "time_scale": d.time_scale,
            "link": d.link,
            **{
                column: None if limit is None else limit / factor
                for column, (field, factor) in LIMIT_COLUMNS.items()
                for limit in (limit_of(d, classes[d.device_class], field),)
            },
        }
        for d in fleet.devices
    ]
    return pd.DataFrame(rows).set_index("name")


def links_frame(fleet: Fleet) -> "pd.DataFrame":
    """Links that devices share, one row each by name, as `fleet_from_frame` takes them.

    Empty where devices share none.
    """
    import pandas as pd

    rows = [
        {
            "name": link.name,
            "parent": link.parent,
            "uplink_mbit_per_s": link.uplink_bytes_per_s / BYTES_PER_S_PER_MBIT,
            "downlink_mbit_per_s": link.downlink_bytes_per_s / BYTES_PER_S_PER_MBIT,
        }
        for link in fleet.links
    ]
    return pd.DataFrame(rows, columns=["name", "parent", *LINK_SPEEDS]).set_index("name")
