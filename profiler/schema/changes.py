"""Changes to a fleet, each a line of text: ``class=NAME,uplink_mbit_per_s=5``."""

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from profiler.files import InputError
from profiler.schema.fleet import Fleet, FleetDevice
from profiler.schema.limits import LIMIT_COLUMNS, LIMITS

# Name on the command line, field of the device, factor to its SI unit.
_FIELDS = {
    "uplink_mbit_per_s": ("uplink_bytes_per_s", 1e6 / 8),
    "downlink_mbit_per_s": ("downlink_bytes_per_s", 1e6 / 8),
    "latency_s": ("latency_s", 1.0),
    "memory_gb": ("memory_bytes", 1e9),
    "storage_gb": ("storage_bytes", 1e9),
    "time_scale": ("time_scale", 1.0),
    "examples": ("examples", 1.0),
    "local_steps": ("local_steps", 1.0),
    "count": ("count", 1.0),
    "power_w": ("power_w", 1.0),
    **LIMIT_COLUMNS,
}
# What two of them were called before they had the names of a table's columns; still taken.
_ALIASES = {"uplink_mbps": "uplink_mbit_per_s", "downlink_mbps": "downlink_mbit_per_s"}
# Of a class, as its time and memory are, not of a device.
_POWER = "power_w"
# Says of a limit that there is none.
_NONE = "none"
_WHOLE = ("memory_bytes", "storage_bytes", "examples", "local_steps", "count")
_MAY_BE_0 = ("memory_bytes", "storage_bytes")
# Of which there are no parts, unlike bytes in a number of GB.
_COUNTED = ("examples", "local_steps", "count")
# As far as a float counts exactly.
_MOST = 2**53
_SELECTORS = ("device", "class", "link", "all")

Value = float | UnsetType


def changed(fleet: Fleet, assignments: Sequence[str]) -> Fleet:
    """Apply changes such as ``device=tx2-03,uplink_mbit_per_s=5`` to a fleet.

    Parameters
    ----------
    fleet : Fleet
    assignments : sequence of str
        Each selects ``device=NAME``, ``class=NAME`` or ``all`` devices and sets one or more of
        uplink_mbit_per_s, downlink_mbit_per_s, latency_s, memory_gb (0: no limit), storage_gb,
        time_scale, examples, local_steps, count, and limits of its own: upload_mb, download_mb,
        energy_j, time_s (none: no limit); of a class or all also power_w, the draw under
        load; or it selects ``link=NAME`` and sets one or both of uplink_mbit_per_s and
        downlink_mbit_per_s. Limits of a class, or of all, become those of the classes, and
        their devices' own ones give way, as any later change goes before an earlier one.

    Raises
    ------
    InputError
        If a change names an unknown device, class, link or field, or a value out of range.
    """
    for text in assignments:
        given = [part.partition("=")[::2] for part in text.split(",")]
        parts = [(_ALIASES.get(key, key), value) for key, value in given]
        pairs = dict(parts)
        if len(pairs) < len(parts):
            raise InputError(f"--set '{text}': says something twice; expected each name once")
        chosen = [name for name in _SELECTORS if name in pairs]
        if len(chosen) != 1 or len(pairs) < 2 or pairs.get("all"):
            raise InputError(
                f"--set '{text}': expected device=NAME or class=NAME or link=NAME or all, then "
                "FIELD=VALUE"
            )
        kind, name = chosen[0], pairs.pop(chosen[0])
        fields = dict(_field(text, key, value) for key, value in pairs.items())
        if kind == "link":
            fleet = _link_changed(fleet, name, fields, text)
            continue
        name = _class_name(fleet, name) if kind == "class" else name
        if not any(_selected(d, kind, name) for d in fleet.devices):
            raise InputError(
                f"--set '{text}': the fleet has no {kind} '{name}'; {_known(fleet, kind, name)}"
            )
        fleet = _power_changed(fleet, kind, name, fields.pop(_POWER, None), text)
        fleet, own = _limits_changed(fleet, kind, name, fields)
        devices = [_apply(d, kind, name, own, text) for d in fleet.devices]
        fleet = replace(fleet, devices=devices)
    return fleet


def _class_name(fleet: Fleet, name: str) -> str:
    """The class that a device's name alone means, as in a table, where it means just one."""
    used = {d.device_class for d in fleet.devices}
    found = [c.name for c in fleet.classes if c.device.name == name and c.name in used]
    return found[0] if len(found) == 1 and name not in used else name


def _known(fleet: Fleet, kind: str, name: str) -> str:
    """What there is instead: all classes, or the devices that are called nearly the same."""
    if kind == "class":
        return (
            f"expected one of {', '.join(dict.fromkeys(d.device_class for d in fleet.devices))}"
        )
    names = [d.name for d in fleet.devices]
    close = difflib.get_close_matches(name, names) or names[:3]
    return f"expected a device's name, such as {', '.join(close)}"


def _limits_changed(
    fleet: Fleet, kind: str, name: str, fields: Mapping[str, Value]
) -> tuple[Fleet, Mapping[str, Value]]:
    """Change the limits of a class, or of all; their devices then have none of their own."""
    limits = {field: value for field, value in fields.items() if field in LIMITS}
    if kind == "device" or not limits:
        return fleet, fields
    classes = [
        replace(c, **limits) if kind == "all" or c.name == name else c for c in fleet.classes
    ]
    return replace(fleet, classes=classes), {**fields, **dict.fromkeys(limits, UNSET)}


def _power_changed(
    fleet: Fleet, kind: str, name: str, power_w: Value | None, text: str
) -> Fleet:
    """Change what a class draws, or all of them, as where a measured profile cannot say."""
    if not isinstance(power_w, float | int):
        return fleet
    if kind == "device":
        raise InputError(f"--set '{text}': {_POWER} is of a class; expected class=NAME or all")
    if power_w < 0:
        raise InputError(f"--set '{text}': {_POWER} is {power_w:g}; expected 0 or more")
    classes = [
        replace(c, device=replace(c.device, power_w=power_w))
        if kind == "all" or c.name == name
        else c
        for c in fleet.classes
    ]
    return replace(fleet, classes=classes)


def _link_changed(fleet: Fleet, name: str, fields: Mapping[str, Any], text: str) -> Fleet:
    """Change a shared link, which has an uplink and a downlink and nothing else."""
    speeds = ("uplink_bytes_per_s", "downlink_bytes_per_s")
    if name not in [link.name for link in fleet.links]:
        raise InputError(f"--set '{text}': the fleet has no link '{name}'")
    if not set(fields) <= set(speeds):
        raise InputError(
            f"--set '{text}': a link has only uplink_mbit_per_s and downlink_mbit_per_s"
        )
    if min(fields.values()) <= 0:
        raise InputError(f"--set '{text}': a link's capacity is expected above 0")
    links = [replace(k, **fields) if k.name == name else k for k in fleet.links]
    return replace(fleet, links=links)


def _selected(device: FleetDevice, kind: str, name: str) -> bool:
    if kind == "all":
        return True
    return name == (device.name if kind == "device" else device.device_class)


def _field(text: str, key: str, value: str) -> tuple[str, Value]:
    if key not in _FIELDS:
        raise InputError(
            f"--set '{text}': no field '{key}'; expected one of {', '.join(_FIELDS)}"
        )
    field, factor = _FIELDS[key]
    if field in LIMITS and value.strip().lower() == _NONE:
        return field, UNSET
    try:
        number = float(value) * factor
    except ValueError:
        number = math.nan
    outside = field in _WHOLE and not (field not in _MAY_BE_0) <= number <= _MOST
    outside |= field in LIMITS and number < 0
    part = field in _COUNTED and not number.is_integer()
    if not math.isfinite(number) or outside or part:
        expected = "a whole number from 1 to 2^53" if field in _COUNTED else "a number in range"
        if field in LIMITS:
            expected = f"0 or more, or {_NONE} for no limit"
        raise InputError(f"--set '{text}': {key} is '{value}'; expected {expected}")
    return field, round(number) if field in _WHOLE else number


def _apply(
    device: FleetDevice, kind: str, name: str, fields: Mapping[str, Any], text: str
) -> FleetDevice:
    if not _selected(device, kind, name):
        return device
    try:
        return replace(device, **fields)
    except ValueError as error:
        raise InputError(f"--set '{text}': {error}") from None
