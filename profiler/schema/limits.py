"""Limits of a device's own, or of its class: bytes, joules and seconds that it has a round.

A device on a metered uplink, on a battery, or that must be done early is described as such,
and every plan heeds it beside whatever the question asks of all devices: the smaller of the two
binds. A device's own limit goes before its class's. 0 is a limit too, of what is used up; one
that is left out is none.
"""

import math
from typing import TYPE_CHECKING, Annotated

from msgspec import UNSET, Meta, UnsetType

from profiler.schema.base import NonNegative

if TYPE_CHECKING:
    from profiler.schema.fleet import DeviceClass, FleetDevice

__all__ = [
    "LIMITS",
    "LIMIT_COLUMNS",
    "Download",
    "Energy",
    "Time",
    "Upload",
    "check_limits",
    "limit_of",
]

_UNSET = "left out: no limit of its own"
Upload = Annotated[
    NonNegative | UnsetType, Meta(description=f"most bytes it sends in a round; {_UNSET}")
]
Download = Annotated[
    NonNegative | UnsetType, Meta(description=f"most bytes it receives in a round; {_UNSET}")
]
Energy = Annotated[
    NonNegative | UnsetType, Meta(description=f"most energy it uses in a round; {_UNSET}")
]
Time = Annotated[
    NonNegative | UnsetType,
    Meta(
        description="longest that it computes, sends and receives in a round, beside the "
        f"round's own time; {_UNSET}"
    ),
]

# What a limit is called in tables, frames and --set: its field, and the factor to its unit.
LIMIT_COLUMNS = {
    "upload_mb": ("upload_limit_bytes", 1e6),
    "download_mb": ("download_limit_bytes", 1e6),
    "energy_j": ("energy_limit_j", 1.0),
    "time_s": ("time_limit_s", 1.0),
}
LIMITS = tuple(field for field, _ in LIMIT_COLUMNS.values())


def check_limits(owner: str, each: "FleetDevice | DeviceClass") -> None:
    """Refuse a limit that is none: null, not a number, below 0, or endless."""
    for field in LIMITS:
        value = getattr(each, field)
        if value is UNSET:
            continue
        if value is None or not (value >= 0 and math.isfinite(value)):
            seen = "null" if value is None else value
            raise ValueError(
                f"{owner}: {field} is {seen}; expected 0 or more and finite, or left out for "
                "no limit"
            )


def limit_of(device: "FleetDevice", owner: "DeviceClass", field: str) -> float | None:
    """Limit of a device: its own, else its class's, else None.

    Parameters
    ----------
    device : FleetDevice
    owner : DeviceClass
        Its class.
    field : str
        One of `LIMITS`.

    Returns
    -------
    float or None
        In the field's own unit: bytes, joules or seconds a round.
    """
    for each in (device, owner):
        value = getattr(each, field)
        if value is not UNSET:
            return float(value)
    return None
