"""Whether every device keeps the limits of its own, or of its class where it has none."""

from collections.abc import Iterator

from msgspec import UNSET

from profiler.schema import DeviceClass, Fleet, FleetDevice
from solver.check.costs import Recomputed
from solver.check.finding import Check, within
from solver.plan import PredictedDevice

__all__ = ["own_limit_checks", "own_limits"]

# What is limited: its name in plans, the field of the limit, and the figure it holds for.
_LIMITED = (
    ("own upload", "upload_limit_bytes", "upload_bytes"),
    ("own download", "download_limit_bytes", "download_bytes"),
    ("own energy", "energy_limit_j", "energy_j"),
    ("own time", "time_limit_s", "time_s"),
)


def own_limits(
    device: FleetDevice, owner: DeviceClass, need: PredictedDevice
) -> Iterator[tuple[str, float, float]]:
    """Name, need and limit of everything that a device, of class `owner`, has a limit on."""
    for name, field, figure in _LIMITED:
        limit = getattr(device, field)
        if limit is UNSET:
            limit = getattr(owner, field)
        if limit is not UNSET:
            yield name, float(getattr(need, figure)), float(limit)


def own_limit_checks(fleet: Fleet, truth: Recomputed) -> list[Check]:
    """Check each kind of limit over all devices that take part, if anybody has one."""
    classes = {c.name: c for c in fleet.classes}
    seen: dict[str, list[tuple[float, float, str]]] = {}
    for device in fleet.devices:
        owner = classes[device.device_class]
        need = truth.devices.get(device.name)
        if need is not None:
            for name, figure, limit in own_limits(device, owner, need):
                seen.setdefault(name, []).append((figure, limit, device.name))
    return [
        _verdict(f"devices.{field}", seen[name]) for name, field, _ in _LIMITED if name in seen
    ]


def _verdict(name: str, limited: list[tuple[float, float, str]]) -> Check:
    """Each of (need, limit, device) within its limit; reports the one furthest over."""
    over = [each for each in limited if not within("", each[0], each[1]).ok]
    if not over:
        detail = f"{len(limited)} devices with such a limit, each within it"
        return Check(name=name, ok=True, detail=detail)
    need, limit, worst = max(over, key=lambda each: (each[0] - each[1]) / max(each[1], 1e-300))
    detail = f"{len(over)} devices over their own limit, most of all '{worst}'"
    return Check(name=name, ok=False, seen=need, expected=limit, detail=detail)
