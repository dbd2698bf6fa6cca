"""The hardware catalogue: ``hardware.csv``, one row a device and power mode."""

import csv
import importlib.resources
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Literal, cast

from profiler.schema import Device, InputError

__all__ = ["Hardware", "find_hardware", "read_catalogue"]

CATALOGUE = "hardware.csv"
DTYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """A device in one power mode, with the source of each figure.

    Attributes
    ----------
    id, mode, name : str
        Catalogue id, power mode, and name for people.
    processor : {'cpu', 'cuda'}
        What computes.
    threads : int
        CPU threads; 0 where a GPU computes.
    fp32_flop_per_s, fp16_flop_per_s, bf16_flop_per_s : float
        Peak rates of dense products; 0 where the type is not supported.
    bandwidth_bytes_per_s : float
        Peak memory bandwidth.
    memory_bytes : float
        Memory of the device, shared with the system where there is one memory.
    framework_bytes : float
        Process, libraries and driver context before the model.
    power_w : float
        Draw under load.
    radio_j_per_byte : float
        Radio energy a byte; 0 where it has no radio.
    kernel_launch_s : float
        Least time of a kernel.
    fp32_efficiency, half_efficiency : float
        Part of the peak that matrix products reach in training.
    error_fraction : float
        Relative uncertainty of derived step times, one sigma.
    compute_source ... efficiency_source : str
        Where the figures come from; estimates say so.
    """

    id: str
    mode: str
    name: str
    processor: Literal["cpu", "cuda"]
    threads: int
    fp32_flop_per_s: float
    fp16_flop_per_s: float
    bf16_flop_per_s: float
    bandwidth_bytes_per_s: float
    memory_bytes: float
    framework_bytes: float
    power_w: float
    radio_j_per_byte: float
    kernel_launch_s: float
    fp32_efficiency: float
    half_efficiency: float
    error_fraction: float
    compute_source: str
    bandwidth_source: str
    memory_source: str
    power_source: str
    efficiency_source: str

    @property
    def label(self) -> str:
        """Device and mode, such as ``jetson-tx2/maxn``."""
        return f"{self.id}/{self.mode}"

    @property
    def types(self) -> list[str]:
        """Compute types it supports."""
        return [name for name in DTYPES if self.reached_flop_per_s(name) > 0]

    def reached_flop_per_s(self, dtype: str) -> float:
        """Rate that matrix products of this type reach in training; 0 if unsupported."""
        if dtype not in DTYPES:
            raise InputError(f"dtype is {dtype!r}; expected one of {', '.join(DTYPES)}")
        peak: float = getattr(self, f"{DTYPES[dtype]}_flop_per_s")
        return peak * (self.fp32_efficiency if dtype == "float32" else self.half_efficiency)

    @property
    def sources(self) -> str:
        """All sources in one line."""
        return "; ".join(
            f"{kind}: {getattr(self, f'{kind}_source')}"
            for kind in ("compute", "bandwidth", "memory", "power", "efficiency")
        )

    def device(self) -> Device:
        """The device as a profile states it."""
        return Device(
            name=self.id,
            mode=self.mode,
            processor=self.processor,
            threads=self.threads,
            memory_bytes=int(self.memory_bytes),
            power_w=self.power_w,
            radio_j_per_byte=self.radio_j_per_byte,
        )


@cache
def read_catalogue() -> tuple[Hardware, ...]:
    """All devices and modes, in the order of the file."""
    text = importlib.resources.files("profiler").joinpath(CATALOGUE).read_text("utf-8")
    rows = csv.DictReader(text.splitlines(), strict=True)
    return tuple(parse_row(row, number) for number, row in enumerate(rows, start=2))


def parse_row(row: Mapping[str, str], line: int) -> Hardware:
    """Read one row of the catalogue; raises `InputError` with line and column."""
    values: dict[str, object] = {}
    for field in fields(Hardware):
        cell = row.get(field.name)
        if not cell:
            raise InputError(f"{CATALOGUE}, line {line}: {field.name} is empty")
        values[field.name] = _number(cell, field.name, line) if _is_number(field) else cell
    values["threads"] = int(cast("float", values["threads"]))
    return Hardware(**values)  # type: ignore[arg-type]  # checked by field above


def _is_number(field: object) -> bool:
    return getattr(field, "type", None) in (float, int)


def _number(cell: str, column: str, line: int) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise InputError(
            f"{CATALOGUE}, line {line}: {column} is '{cell}'; expected a number, 0 or more"
        )
    return value


def find_hardware(name: str, mode: str | None = None) -> Hardware:
    """Find a device by id, or by id and mode as ``id/mode``.

    Parameters
    ----------
    name : str
        Catalogue id, such as ``jetson-tx2`` or ``jetson-tx2/maxq``.
    mode : str, optional
        Power mode; by default the first one listed.

    Raises
    ------
    InputError
        If the catalogue has no such device or mode; the message lists those it has.
    """
    base, _, suffix = name.partition("/")
    wanted = mode or suffix or None
    rows = [h for h in read_catalogue() if h.id == base]
    if not rows:
        known = dict.fromkeys(h.id for h in read_catalogue())
        raise InputError(
            f"hardware '{base}' is not in the catalogue; known: {', '.join(known)}"
        )
    for row in rows:
        if wanted in (None, row.mode):
            return row
    raise InputError(
        f"hardware '{base}' has no mode '{wanted}'; known: {', '.join(h.mode for h in rows)}"
    )
