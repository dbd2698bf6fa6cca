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
``memory_gib``             optional: memory it may use (the device's own, if known)
``storage_gb``             optional: storage for cached layer outputs (the command's
                           option)
``count``                  optional: devices alike (1)
``time_scale``             optional: observed over profiled compute time (1)
``link``                   optional: shared link it is behind (none)
=========================  =============================================================

Links that devices share come from a second table, one row a link:

=========================  =============================================================
``name``                   unique
``parent``                 optional: link it leads to; empty: the server
``uplink_mbit_per_s``      shared upload capacity, megabits per second
``downlink_mbit_per_s``    shared download capacity
=========================  =============================================================

Parquet and Flower's node configurations are read as such tables: `profiler.fleet_formats`.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from profiler.fleet_formats import flower_table, parquet_table
from profiler.schema import DeviceClass, FleetDevice, InputError, Link, read_bytes

__all__ = [
    "COLUMNS",
    "Row",
    "by_label",
    "class_names",
    "devices_of",
    "read_devices",
    "read_links",
    "read_rows",
]

Row = Mapping[str, str]

REQUIRED = ("name", "class", "uplink_mbit_per_s", "downlink_mbit_per_s")
OPTIONAL = (
    "latency_s",
    "examples",
    "local_steps",
    "memory_gib",
    "storage_gb",
    "count",
    "time_scale",
    "link",
)
COLUMNS = (*REQUIRED, *OPTIONAL)
LINK_REQUIRED = ("name", "uplink_mbit_per_s", "downlink_mbit_per_s")
LINK_OPTIONAL = ("parent",)

BYTES_PER_S_PER_MBIT = 125_000.0
BYTES_PER_GIB = 2**30
BYTES_PER_GB = 1e9
MOST_REPORTED = 20
LARGEST = 1e12


def read_devices(
    path: Path,
    classes: Mapping[str, DeviceClass],
    local_steps: int,
    known: str = "",
    storage_bytes: int = 0,
) -> list[FleetDevice]:
    """Read the devices of a fleet from a CSV file, UTF-8 with a header; see `devices_of`."""
    rows = read_rows(path)
    return devices_of(rows, str(path), classes, local_steps, known, storage_bytes)


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
    reader = _Reader(owner, classes, local_steps, known or ", ".join(classes), storage_bytes)
    read = [reader.device(row, line) for line, row in enumerate(rows, start=2)]
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
    rows = read_rows(path, LINK_REQUIRED, LINK_OPTIONAL)
    reader = _Reader(str(path), {}, 1, "", 0)
    read = [reader.link(row, line) for line, row in enumerate(rows, start=2)]
    links = [link for link in read if link is not None]
    reader.finish(len(links), "links")
    return links


def read_rows(
    path: Path, required: Sequence[str] = REQUIRED, optional: Sequence[str] = OPTIONAL
) -> list[dict[str, str]]:
    """Rows of the table by column; raises `InputError` if the header is wrong."""
    rows = _table(path)
    header = [name.strip() for name in rows[0]] if rows else []
    check_header(str(path), header, required, optional)
    return [_as_mapping(header, row) for row in rows[1:]]


def _table(path: Path) -> list[list[str]]:
    """Header and rows, by the format that the file's name says."""
    other = {".parquet": parquet_table, ".json": flower_table}.get(path.suffix.lower())
    if other is not None:
        return other(path)
    try:
        text = read_bytes(path).decode("utf-8-sig")
        return list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text ({error.reason})") from None
    except csv.Error as error:
        raise InputError(f"{path}: is not CSV ({error})") from None


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
    missing = [name for name in required if name not in header]
    unknown = [name for name in header if name not in (*required, *optional)]
    if missing or unknown or len(set(header)) < len(header):
        seen = ", ".join(header) or "nothing"
        raise InputError(
            f"{owner}, row 1: columns are {seen}; expected {', '.join(required)} and, "
            f"if wanted, {', '.join(optional)}, each once"
        )


def class_names(rows: Sequence[Row]) -> list[str]:
    """Classes that a table uses, in the order of their first device."""
    return list(dict.fromkeys(row["class"] for row in rows if row.get("class")))


def by_label(classes: Sequence[DeviceClass]) -> dict[str, DeviceClass]:
    """Classes by name, and by the device's name alone where that means just one."""
    names = [c.device.name for c in classes]
    alone = {c.device.name: c for c in classes if names.count(c.device.name) == 1}
    return {**alone, **{c.name: c for c in classes}}


# Column, default (None: required), whether 0 is excluded, whether it is a whole number.
NUMBERS: tuple[tuple[str, float | None, bool, bool], ...] = (
    ("uplink_mbit_per_s", None, True, False),
    ("downlink_mbit_per_s", None, True, False),
    ("latency_s", 0.0, False, False),
    ("examples", 1.0, True, True),
    ("local_steps", math.nan, True, True),
    ("memory_gib", math.nan, False, False),
    ("storage_gb", math.nan, False, False),
    ("count", 1.0, True, True),
    ("time_scale", 1.0, True, False),
)


class _Reader:
    """Turns rows into devices and collects what is wrong with them."""

    def __init__(
        self,
        owner: str,
        classes: Mapping[str, DeviceClass],
        local_steps: int,
        known: str,
        storage_bytes: int,
    ) -> None:
        self.owner = owner
        self.storage_bytes = storage_bytes
        self.classes = classes
        self.local_steps = local_steps
        self.known = known
        self.problems: list[str] = []
        self.lines: dict[str, int] = {}

    def device(self, row: Mapping[str, str], line: int) -> FleetDevice | None:
        """Read a row, or note its problems and return None."""
        before = len(self.problems)
        if "" in row:
            self._note(line, "", row[""], "no more cells than columns")
        name = self._name(row, line)
        device_class = self.classes.get(row.get("class", ""))
        if device_class is None:
            self._note(line, "class", row.get("class", ""), f"one of {self.known}")
        numbers = {
            column: self._number(row, line, column, default, above_zero=above, whole=whole)
            for column, default, above, whole in NUMBERS
        }
        if len(self.problems) > before or device_class is None:
            return None
        link = row.get("link", "")
        return _build(name, device_class, numbers, self.local_steps, self.storage_bytes, link)

    def link(self, row: Mapping[str, str], line: int) -> Link | None:
        """Read a row of the table of links, or note its problems and return None."""
        before = len(self.problems)
        if "" in row:
            self._note(line, "", row[""], "no more cells than columns")
        name = self._name(row, line)
        up, down = (
            self._number(row, line, column, None, above_zero=True, whole=False)
            for column in LINK_REQUIRED[1:]
        )
        if len(self.problems) > before:
            return None
        return Link(
            name=name,
            parent=row.get("parent", ""),
            uplink_bytes_per_s=up * BYTES_PER_S_PER_MBIT,
            downlink_bytes_per_s=down * BYTES_PER_S_PER_MBIT,
        )

    def finish(self, found: int, what: str = "devices") -> None:
        """Raise `InputError` if any row was bad, or there was none."""
        if self.problems:
            shown = self.problems[:MOST_REPORTED]
            more = len(self.problems) - len(shown)
            tail = [f"and {more} more"] if more else []
            raise InputError("\n".join([*shown, *tail]))
        if not found:
            raise InputError(f"{self.owner}: no {what}; expected one row a {what[:-1]}")

    def _note(self, line: int, column: str, seen: str, expected: str) -> None:
        where = f"{self.owner}, row {line}" + (f", column '{column}'" if column else "")
        self.problems.append(f"{where}: '{seen}'; expected {expected}")

    def _name(self, row: Mapping[str, str], line: int) -> str:
        name = row.get("name", "")
        if not name:
            self._note(line, "name", name, "a name")
        elif name in self.lines:
            self._note(line, "name", name, f"another name than row {self.lines[name]}")
        else:
            self.lines[name] = line
        return name

    def _number(
        self,
        row: Mapping[str, str],
        line: int,
        column: str,
        default: float | None,
        *,
        above_zero: bool,
        whole: bool,
    ) -> float:
        cell = row.get(column, "")
        if not cell and default is not None:
            return default
        value = _parse(cell)
        good = (value > 0 if above_zero else value >= 0) and value <= LARGEST
        if not good or (whole and not value.is_integer()):
            kind = "a whole number" if whole else "a number"
            least = "above 0" if above_zero else "0 or more"
            most = f" and at most {LARGEST:g}" if value > LARGEST else ""
            self._note(line, column, cell, f"{kind}, {least}{most}")
        return value


def _parse(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _build(
    name: str,
    device_class: DeviceClass,
    numbers: Mapping[str, float],
    local_steps: int,
    storage_bytes: int,
    link: str,
) -> FleetDevice:
    storage = numbers["storage_gb"]
    own = device_class.device.memory_bytes
    memory, steps = numbers["memory_gib"], numbers["local_steps"]
    return FleetDevice(
        name=name,
        device_class=device_class.name,
        count=int(numbers["count"]),
        uplink_bytes_per_s=numbers["uplink_mbit_per_s"] * BYTES_PER_S_PER_MBIT,
        downlink_bytes_per_s=numbers["downlink_mbit_per_s"] * BYTES_PER_S_PER_MBIT,
        latency_s=numbers["latency_s"],
        examples=int(numbers["examples"]),
        local_steps=local_steps if math.isnan(steps) else int(steps),
        memory_bytes=own if math.isnan(memory) else round(memory * BYTES_PER_GIB),
        storage_bytes=storage_bytes if math.isnan(storage) else round(storage * BYTES_PER_GB),
        time_scale=numbers["time_scale"],
        link=link,
    )
