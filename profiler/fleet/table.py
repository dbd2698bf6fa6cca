"""Fleets from a table of devices: a CSV file, or rows from elsewhere.

One row a device, or several alike. Columns, in any order:

=========================  =============================================================
``name``                   unique
``class``                  a profile's device, as ``name`` or ``name/mode``; without
                           profiles, a device of the hardware catalogue
``uplink_mbit_per_s``      upload speed, megabits per second
``downlink_mbit_per_s``    download speed
``latency_s``              optional: fixed network time a round (0)
``examples``               optional: local training examples (1)
``local_steps``            optional: training steps a round (the command's option)
``memory_gb``              optional: memory it may use, GB of 10^9 bytes (the device's own,
                           if known)
``storage_gb``             optional: storage for cached layer outputs (the command's
                           option)
``count``                  optional: devices alike (1)
``time_scale``             optional: observed over profiled compute time (1)
``link``                   optional: shared link it is behind (none)
``upload_mb``              optional: most it sends in a round, MB of 10^6 bytes (no limit)
``download_mb``            optional: most it receives in a round (no limit)
``energy_j``               optional: most energy it uses in a round, joules (no limit)
``time_s``                 optional: longest it takes in a round, seconds (no limit)
=========================  =============================================================

Links that devices share come from a second table, one row a link:

=========================  =============================================================
``name``                   unique
``parent``                 optional: link it leads to; empty: the server
``uplink_mbit_per_s``      shared upload capacity, megabits per second
``downlink_mbit_per_s``    shared download capacity
=========================  =============================================================

Names of columns may be in capitals. Cells are parted by commas, tabs or semicolons, as the
header has them; with semicolons numbers may have decimal commas, as spreadsheets write both
together. A cell that is empty, or says ``NA``, ``n/a``, ``nan``, ``null``, ``none`` or ``-``,
is missing.

Parquet and Flower's node configurations are read as such tables: `profiler.fleet.formats`.
"""

import csv
import difflib
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from profiler.fleet.formats import flower_table, parquet_table
from profiler.fleet.rows import LINK_SPEEDS, Row, RowReader
from profiler.schema import (
    LIMIT_COLUMNS,
    DeviceClass,
    FleetDevice,
    InputError,
    Link,
    read_bytes,
)

__all__ = [
    "LINK_OPTIONAL",
    "LINK_REQUIRED",
    "Row",
    "by_label",
    "class_names",
    "devices_of",
    "links_of",
    "read_links",
    "read_rows",
]

REQUIRED = ("name", "class", "uplink_mbit_per_s", "downlink_mbit_per_s")
OPTIONAL = (
    "latency_s",
    "examples",
    "local_steps",
    "memory_gb",
    "storage_gb",
    "count",
    "time_scale",
    "link",
    *LIMIT_COLUMNS,
)
LINK_REQUIRED = ("name", *LINK_SPEEDS)
LINK_OPTIONAL = ("parent",)
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
WORKBOOKS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")


def devices_of(
    rows: Sequence[Row],
    owner: str,
    classes: Mapping[str, DeviceClass],
    local_steps: int,
    known: str = "",
    storage_bytes: int = 0,
) -> list[FleetDevice]:
    """Turn rows of a table into devices.

    Parameters
    ----------
    rows : sequence of mapping
        Cells by column, as text; the second line of a file is the first of them.
    owner : str
        What the table is called in error messages.
    classes : mapping of str to DeviceClass
        Class by what a cell may say.
    local_steps : int
        Training steps a round where the table does not say.
    known : str
        What cells may say, for error messages; by default the keys of `classes`.
    storage_bytes : int
        Storage for cached layer outputs where the table does not say.

    Raises
    ------
    InputError
        With one line for every bad cell.
    """
    reader = RowReader(owner, classes, local_steps, known or ", ".join(classes), storage_bytes)
    read = [reader.device(row, line) for line, row in enumerate(rows, start=2) if row]
    devices = [device for device in read if device is not None]
    reader.finish(len(devices))
    return devices


def read_links(path: Path) -> list[Link]:
    """Read the links of a fleet; that they form a tree is the fleet's own check.

    Raises
    ------
    InputError
        With one line for every bad cell.
    """
    return links_of(read_rows(path, LINK_REQUIRED, LINK_OPTIONAL), str(path))


def links_of(rows: Sequence[Row], owner: str) -> list[Link]:
    """Turn rows of a table into links; see `devices_of`."""
    reader = RowReader(owner, {}, 1, "", 0)
    read = [reader.link(row, line) for line, row in enumerate(rows, start=2) if row]
    links = [link for link in read if link is not None]
    reader.finish(len(links), "links")
    return links


def read_rows(
    path: Path, required: Sequence[str] = REQUIRED, optional: Sequence[str] = OPTIONAL
) -> list[dict[str, str]]:
    """Rows of a table in a file, CSV as UTF-8; raises `InputError` for a wrong header."""
    rows = _table(path)
    header = [name.strip().lower() for name in rows[0]] if rows else []
    check_header(str(path), header, required, optional)
    return [_as_mapping(header, row) for row in rows[1:]]


def _table(path: Path) -> list[list[str]]:
    """Header and rows, by the format that the file's name says."""
    other = {".parquet": parquet_table, ".json": flower_table}.get(path.suffix.lower())
    if other is not None:
        return other(path)
    if path.suffix.lower() in WORKBOOKS:
        raise InputError(f"{path}: is a workbook; expected a table, so save it as CSV (UTF-8)")
    try:
        text = read_bytes(path).decode("utf-8-sig")
        mark = _delimiter(text)
        rows = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=mark)
        # Rows without a cell are no rows: editors and spreadsheets leave them at the end.
        kept = [row if any(cell.strip() for cell in row) else [] for row in rows]
        # Programs write semicolons where the comma is taken, for decimals.
        return [[_decimal_point(c) for c in row] for row in kept] if mark == ";" else kept
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: is not UTF-8 text ({error.reason}); save it as CSV (UTF-8)"
        ) from None
    except csv.Error as error:
        raise InputError(f"{path}: is not CSV ({error})") from None


def _delimiter(text: str) -> str:
    """What parts the cells of a header; a comma where there is one column."""
    header = text.partition("\n")[0]
    return max(",;\t", key=header.count)


def _decimal_point(cell: str) -> str:
    return cell.replace(",", ".") if DECIMAL_COMMA.fullmatch(cell.strip()) else cell


def _as_mapping(header: list[str], row: list[str]) -> dict[str, str]:
    cells = [cell.strip() for cell in row]
    extra = {"": ", ".join(cells[len(header) :])} if len(cells) > len(header) else {}
    return {**dict(zip(header, cells, strict=False)), **extra}


def check_header(
    owner: str,
    header: list[str],
    required: Sequence[str] = REQUIRED,
    optional: Sequence[str] = OPTIONAL,
) -> None:
    """Raise `InputError` unless the columns are those of such a table."""
    known = (*required, *optional)
    missing = [name for name in required if name not in header]
    unknown = [name for name in header if name not in known]
    if missing or unknown or len(set(header)) < len(header):
        seen = ", ".join(header) or "nothing"
        wrong = [f"{name} is missing" for name in missing if header]
        wrong += [f"{name} is none of them{_meant(name, known)}" for name in unknown]
        raise InputError(
            f"{owner}, row 1: columns are {seen}; expected {', '.join(required)} and, "
            f"if wanted, {', '.join(optional)}, each once"
            + (f": {', '.join(wrong)}" if wrong else "")
        )


def _meant(name: str, known: Sequence[str]) -> str:
    """The column whose name is nearly the same, if there is one."""
    # A word of theirs says more than letters alike: uplink is not link.
    words = re.findall("[a-z]+", name)
    close = [c for word in words for c in known if c.split("_")[0] == word]
    close = close or [c for c in known if words and c.startswith(words[0])]
    close = close or difflib.get_close_matches(name, known, n=1)
    return f" ({close[0]}?)" if close else ""


def class_names(rows: Sequence[Row]) -> list[str]:
    """Classes that a table uses, in the order of their first device."""
    return list(dict.fromkeys(row["class"] for row in rows if row.get("class")))


def by_label(classes: Sequence[DeviceClass]) -> dict[str, DeviceClass]:
    """Classes by name, and by the device's name alone where that means just one."""
    names = [c.device.name for c in classes]
    alone = {c.device.name: c for c in classes if names.count(c.device.name) == 1}
    return {**alone, **{c.name: c for c in classes}}
