"""What changed from one plan to the next: the question, the round, and who trains what."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from msgspec.structs import asdict

from solver.plan import InputError, Plan, PlannedDevice

__all__ = ["KINDS", "Changed", "ClassChange", "DeviceChange", "PlanDiff", "plan_diff"]

Kind = Literal[
    "new", "gone", "joins", "leaves", "deeper", "shallower", "ranks", "local", "same"
]
# Of one device, the first that is true.
KINDS: dict[Kind, str] = {
    "new": "only in the plan now",
    "gone": "only in the plan then",
    "joins": "took no part then",
    "leaves": "takes no part now",
    "deeper": "adapts more layers",
    "shallower": "adapts fewer layers",
    "ranks": "adapts the same layers at other ranks",
    "local": "takes other local steps, or keeps its cache otherwise",
    "same": "as it was",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A field of question, training or LoRA that differs, as the files have it."""

    field: str
    then: object
    now: object


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceChange:
    """What became of a device, or of several alike.

    Parameters
    ----------
    name, device_class : str
        The class is the one now, if it is in the plan now.
    count : int
    kind : str
        One of `KINDS`.
    depth_then, depth_now : int or None
        Adapted layers; None where it takes no part.
    time_s_then, time_s_now, upload_bytes_then, upload_bytes_now : float or None
        Of a round; None where it takes no part.
    """

    name: str
    device_class: str
    count: int
    kind: Kind
    depth_then: int | None
    depth_now: int | None
    time_s_then: float | None
    time_s_now: float | None
    upload_bytes_then: float | None
    upload_bytes_now: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassChange:
    """What became of the devices of a class.

    Parameters
    ----------
    device_class : str
    kinds : dict of str to int
        Devices by what became of them (`KINDS`), where there are any.
    depth_then, depth_now, upload_bytes_then, upload_bytes_now : float or None
        Means over the devices of the class that take part; None where none does.
    """

    device_class: str
    kinds: dict[Kind, int]
    depth_then: float | None
    depth_now: float | None
    upload_bytes_then: float | None
    upload_bytes_now: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDiff:
    """What changed from one plan to another.

    Parameters
    ----------
    asked : list of Changed
        Fields of the question, the training or the adapters that differ.
    predicted_then, predicted_now : dict of str to float
        What a round costs and is worth.
    ranks_then, ranks_now : list of int
        Of the server's adapter, by layer, input first.
    classes : list of ClassChange
    devices : list of DeviceChange
        All but those that stay as they were.
    """

    asked: list[Changed]
    predicted_then: dict[str, float]
    predicted_now: dict[str, float]
    ranks_then: list[int]
    ranks_now: list[int]
    classes: list[ClassChange]
    devices: list[DeviceChange]


def plan_diff(then: Plan, now: Plan) -> PlanDiff:
    """What changed from one plan to another of the same model.

    Devices are told apart by their names. Utilities compare only where both fleets have the
    same gains, which no plan says.

    Raises
    ------
    InputError
        If the plans are of different models, or adapt different modules.
    """
    for field in ("layers", "targets"):
        if getattr(then.model, field) != getattr(now.model, field):
            raise InputError(
                f"the plans adapt different models, {then.model.name} and {now.model.name}, or "
                f"different modules of one ({field} differ); expected plans whose ranks compare"
            )
    devices = list(_devices(then, now))
    names = dict.fromkeys(d.device_class for d in devices)
    return PlanDiff(
        asked=list(_asked(then, now)),
        predicted_then=asdict(then.predicted),
        predicted_now=asdict(now.predicted),
        ranks_then=then.ranks,
        ranks_now=now.ranks,
        classes=[_class_change(n, [d for d in devices if d.device_class == n]) for n in names],
        devices=[d for d in devices if d.kind != "same"],
    )


def _asked(then: Plan, now: Plan) -> Iterator[Changed]:
    for group in ("question", "training", "lora"):
        old, new = _flat(getattr(then, group)), _flat(getattr(now, group))
        for name, value in old.items():
            if value != new[name]:
                yield Changed(field=f"{group}.{name}", then=value, now=new[name])


def _flat(value: Any) -> dict[str, object]:
    """Fields of a struct, and those of a struct within it after its name and a point."""
    found: dict[str, object] = {}
    for name, each in asdict(value).items():
        if hasattr(each, "__struct_fields__"):
            found |= {f"{name}.{inner}": v for inner, v in _flat(each).items()}
        else:
            found[name] = each
    return found


def _devices(then: Plan, now: Plan) -> Iterator[DeviceChange]:
    """Every device of either plan; of a row whose count changed, those that came or went."""
    old, new = ({d.name: d for d in plan.devices} for plan in (then, now))
    for name in dict.fromkeys([*new, *old]):
        a, b = old.get(name), new.get(name)
        counts = (a.count if a else 0, b.count if b else 0)
        if a and b:
            yield _change(_kind(then, a, now, b), min(counts), (then, a), (now, b))
        if b and counts[1] > counts[0]:
            yield _change("new", counts[1] - counts[0], (then, None), (now, b))
        if a and counts[0] > counts[1]:
            yield _change("gone", counts[0] - counts[1], (then, a), (now, None))


def _kind(then: Plan, a: PlannedDevice, now: Plan, b: PlannedDevice) -> Kind:
    old, new = then.configuration_of(a), now.configuration_of(b)
    if old is None or new is None:
        return "joins" if new else "leaves" if old else "same"
    if old.depth != new.depth:
        return "deeper" if new.depth > old.depth else "shallower"
    if old.ranks != new.ranks:
        return "ranks"
    return "same" if (a.local_steps, a.cache) == (b.local_steps, b.cache) else "local"


def _change(kind: Kind, count: int, *sides: tuple[Plan, PlannedDevice | None]) -> DeviceChange:
    """A device then and now, None where it is not in the plan."""
    told = next(d for _, d in reversed(sides) if d is not None)
    shapes = [plan.configuration_of(d) if d else None for plan, d in sides]
    depths = [shape.depth if shape else None for shape in shapes]
    costs = [d.predicted if d else None for _, d in sides]
    times = [cost.time_s if cost else None for cost in costs]
    uploads = [cost.upload_bytes if cost else None for cost in costs]
    return DeviceChange(
        name=told.name,
        device_class=told.device_class,
        count=count,
        kind=kind,
        depth_then=depths[0],
        depth_now=depths[1],
        time_s_then=times[0],
        time_s_now=times[1],
        upload_bytes_then=uploads[0],
        upload_bytes_now=uploads[1],
    )


def _class_change(name: str, devices: list[DeviceChange]) -> ClassChange:
    kinds: Counter[Kind] = Counter()
    for device in devices:
        kinds[device.kind] += device.count
    return ClassChange(
        device_class=name,
        kinds={kind: kinds[kind] for kind in KINDS if kinds[kind]},
        depth_then=_mean((d.count, d.depth_then) for d in devices),
        depth_now=_mean((d.count, d.depth_now) for d in devices),
        upload_bytes_then=_mean((d.count, d.upload_bytes_then) for d in devices),
        upload_bytes_now=_mean((d.count, d.upload_bytes_now) for d in devices),
    )


def _mean(parts: Iterable[tuple[int, float | None]]) -> float | None:
    known = [(count, value) for count, value in parts if value is not None]
    total = sum(count for count, _ in known)
    return sum(count * value for count, value in known) / total if total else None
