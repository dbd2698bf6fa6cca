"""Rows of a table as devices and links; what is wrong with them is collected, a line a cell."""

import difflib
import math
from collections.abc import Mapping

from profiler.schema import LIMIT_COLUMNS, DeviceClass, FleetDevice, InputError, Link
from profiler.units import BYTES_PER_GB, BYTES_PER_S_PER_MBIT

__all__ = ["ANY_MODE", "LINK_SPEEDS", "Row", "RowReader"]

# Cells by column, as text.
Row = Mapping[str, str]

LINK_SPEEDS = ("uplink_mbit_per_s", "downlink_mbit_per_s")
# What spreadsheets and statistics programs put where there is no figure.
MISSING = ("", "na", "n/a", "nan", "null", "none", "-")
MOST_REPORTED = 20
MOST_ROWS = 3
# What follows the devices of a catalogue where their modes may be named.
ANY_MODE = " (/mode)"
LARGEST = 1e12

# Column, default (None: required), whether 0 is excluded, whether it is a whole number.
NUMBERS: tuple[tuple[str, float | None, bool, bool], ...] = (
    ("uplink_mbit_per_s", None, True, False),
    ("downlink_mbit_per_s", None, True, False),
    ("latency_s", 0.0, False, False),
    ("examples", 1.0, True, True),
    ("local_steps", math.nan, True, True),
    ("memory_gb", math.nan, False, False),
    ("storage_gb", math.nan, False, False),
    ("count", 1.0, True, True),
    ("time_scale", 1.0, True, False),
    *((column, math.nan, False, False) for column in LIMIT_COLUMNS),
)


class RowReader:
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
        # Rows of a problem, by column, cell and what was expected.
        self.problems: dict[tuple[str, str, str], list[int]] = {}
        self.lines: dict[str, int] = {}
        self._noted = 0

    def device(self, row: Mapping[str, str], line: int) -> FleetDevice | None:
        """Read a row, or note its problems and return None."""
        before = self._noted
        if "" in row:
            self._note(line, "", row[""], "no more cells than columns")
        name = self._name(row, line)
        device_class = self.classes.get(row.get("class", ""))
        if device_class is None:
            seen = row.get("class", "")
            self._note(line, "class", seen, f"one of {self.known}{self._meant(seen)}")
        numbers = {
            column: self._number(row, line, column, default, above_zero=above, whole=whole)
            for column, default, above, whole in NUMBERS
        }
        if self._noted > before or device_class is None:
            return None
        link = row.get("link", "")
        return _build(name, device_class, numbers, self.local_steps, self.storage_bytes, link)

    def link(self, row: Mapping[str, str], line: int) -> Link | None:
        """Read a row of the table of links, or note its problems and return None."""
        before = self._noted
        if "" in row:
            self._note(line, "", row[""], "no more cells than columns")
        name = self._name(row, line)
        up, down = (
            self._number(row, line, column, None, above_zero=True, whole=False)
            for column in LINK_SPEEDS
        )
        if self._noted > before:
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
            shown = [self._said(*problem) for problem in list(self.problems)[:MOST_REPORTED]]
            more = len(self.problems) - len(shown)
            tail = [f"and {more} more"] if more else []
            raise InputError("\n".join([*shown, *tail]))
        if not found:
            raise InputError(f"{self.owner}: no {what}; expected one row a {what[:-1]}")

    def _note(self, line: int, column: str, seen: str, expected: str) -> None:
        self.problems.setdefault((column, seen, expected), []).append(line)
        self._noted += 1

    def _said(self, column: str, seen: str, expected: str) -> str:
        """What is wrong with a cell, once for all the rows that say the same."""
        lines = self.problems[column, seen, expected]
        more = len(lines) - MOST_ROWS
        rows = ("row " if len(lines) == 1 else "rows ") + ", ".join(map(str, lines[:MOST_ROWS]))
        rows += f" and {more} more" if more > 0 else ""
        where = f"{self.owner}, {rows}" + (f", column '{column}'" if column else "")
        return f"{where}: '{seen}'; expected {expected}"

    def _meant(self, seen: str) -> str:
        """The class whose name is nearly the same, if there is one."""
        name, mode = seen.lower(), ""
        if self.known.endswith(ANY_MODE):
            name, mark, after = name.partition("/")
            mode = mark + after
        names = self.known.removesuffix(ANY_MODE).split(", ")
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.8)
        return f" ({close[0]}{mode}?)" if close else ""

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
        if default is not None and cell.lower() in MISSING:
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
    memory, steps = numbers["memory_gb"], numbers["local_steps"]
    return FleetDevice(
        name=name,
        device_class=device_class.name,
        count=int(numbers["count"]),
        uplink_bytes_per_s=numbers["uplink_mbit_per_s"] * BYTES_PER_S_PER_MBIT,
        downlink_bytes_per_s=numbers["downlink_mbit_per_s"] * BYTES_PER_S_PER_MBIT,
        latency_s=numbers["latency_s"],
        examples=int(numbers["examples"]),
        local_steps=local_steps if math.isnan(steps) else int(steps),
        memory_bytes=own if math.isnan(memory) else round(memory * BYTES_PER_GB),
        storage_bytes=storage_bytes if math.isnan(storage) else round(storage * BYTES_PER_GB),
        time_scale=numbers["time_scale"],
        link=link,
        **{
            field: numbers[column] * factor
            for column, (field, factor) in LIMIT_COLUMNS.items()
            if not math.isnan(numbers[column])
        },
    )
