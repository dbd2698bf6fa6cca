"""Limits of devices' own from a table by device, such as a frame of pandas."""

import difflib
import math
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec.structs import replace

from profiler.files import InputError
from profiler.schema.fleet import Fleet
from profiler.schema.limits import LIMIT_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LimitTable", "limited"]

LimitTable: TypeAlias = "pd.DataFrame | Mapping[str, Mapping[str, float | None]]"


def limited(fleet: Fleet, limits: LimitTable) -> Fleet:
    """Give devices limits of their own.

    Parameters
    ----------
    fleet : Fleet
    limits : pandas.DataFrame or mapping
        One row a device, by its name (the index, or a column ``name``), with one or more of the
        columns upload_mb, download_mb (MB of 10^6 bytes), energy_j (joules) and time_s
        (seconds), each for a round. What is missing stays as it is; 0 is a limit.

    Raises
    ------
    InputError
        If a device or column is not known, or a limit is no number of 0 or more.
    """
    rows, devices = _rows(limits), {d.name: d for d in fleet.devices}
    for name, row in rows.items():
        if name not in devices:
            close = difflib.get_close_matches(str(name), devices) or list(devices)[:3]
            raise InputError(
                f"limits of device '{name}', which is not in the fleet; expected a device's "
                f"name, such as {', '.join(close)}"
            )
        given = [_limit(name, column, value) for column, value in row.items()]
        own: dict[str, Any] = dict(each for each in given if each is not None)
        devices[name] = replace(devices[name], **own)
    return replace(fleet, devices=list(devices.values()))


def _rows(limits: LimitTable) -> Mapping[str, Mapping[str, object]]:
    """Cells by device and column, a missing one None."""
    if isinstance(limits, Mapping) and all(isinstance(r, Mapping) for r in limits.values()):
        return limits
    # A mapping of something else is no frame either, and is refused as such.
    table: Any = limits
    try:
        frame = table.set_index("name") if "name" in table.columns else table
        repeated = frame.index[frame.index.duplicated()]
        # Of objects, as a column of numbers makes None a NaN again.
        cells = frame.astype(object).where(frame.notna(), None)
    except (AttributeError, TypeError):
        raise InputError(
            f"limits are {limits!r:.60}; expected a frame, or a mapping by device"
        ) from None
    if len(repeated):
        raise InputError(f"limits of device '{repeated[0]}' twice; expected one row a device")
    return dict(zip(cells.index, cells.to_dict("records"), strict=True))


def _limit(name: str, column: str, value: object) -> tuple[str, float] | None:
    """Field and limit of a cell; None where it is missing."""
    if column not in LIMIT_COLUMNS:
        raise InputError(
            f"limits have a column '{column}'; expected one or more of "
            f"{', '.join(LIMIT_COLUMNS)}, by the device's name"
        )
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not (float(value) >= 0 and math.isfinite(value)):  # type: ignore[arg-type]
        raise InputError(
            f"limits of device '{name}': {column} is {value!r}; expected 0 or more and finite, "
            "or nothing for no limit"
        )
    field, factor = LIMIT_COLUMNS[column]
    return field, float(value) * factor  # type: ignore[arg-type]
