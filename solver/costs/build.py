"""Costs of a configuration: a table by depth plus a slope by rank, for every resource.

All a solver knows of a device is, for each limited resource q,

    cost_q(i, k, r) = scale_i (by_depth[c, k] + sum_{j<=k} per_rank[c, j] r_j)
                      - saving_i spare[c, k]
                      + offset_i + sum_{j<=k} (wire_i size_j + flat_i) r_j   <=   limit_i

with c the class of device i. Layers are counted from the *output* here: j = 1 is the last
layer, at index 0. What a prefix cache spares (`solver.costs.caching`) is a table by depth too,
of which device i saves a share of its own. A rank has a flat price where a codec sends scales
beside the parameters (`solver.costs.payload`) and layers differ in size. A download of
everybody's adapters, stacked, is part of the offset: it does not depend on the device's own
ranks. See design section 2; the cost model is that of LEGEND (arXiv 2412.20004) as far as
known, with measured tables in place of its proportional terms.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from profiler.schema import DeviceClass, Fleet
from solver.costs.caching import Caches, choose, prefix_s
from solver.costs.devices import Devices, Floats, Ints
from solver.costs.payload import Payload, Spread
from solver.costs.phases import memory_phases, uncovered
from solver.costs.resource import Costs, Resource
from solver.errors import FleetError
from solver.links.graph import Links, Traffic
from solver.plan import Question

__all__ = ["MAX_DEPTH", "Costs", "Resource", "build_costs"]

# Largest figure that may enter a cost; products of a few of them stay finite.
LARGEST = 1e60
MAX_DEPTH = "greatest depth"


# What overflows is refused by name at the end, so numpy need not warn of it.
@np.errstate(over="ignore", invalid="ignore")
def build_costs(
    fleet: Fleet,
    question: Question,
    devices: Devices | None = None,
    stack_bytes: float | Floats | None = None,
    spread: Spread = "none",
) -> Costs:
    """Put a fleet under the budgets of a question.

    Parameters
    ----------
    fleet : Fleet
        Class tables, model and LoRA sizes.
    question : Question
        Its budgets (one that is None is not a resource), greatest depth, cache and codecs.
    devices : Devices, optional
        Replaces the fleet's own devices (a million of them, from arrays).
    stack_bytes : float or array, optional
        See `Costs`.
    spread : {'none', 'less', 'more'}
        See `Costs`.
    """
    devices = Devices.of(fleet) if devices is None else devices
    caches = choose(fleet, devices, question.cache, question.cache_rounds)
    wires = _Wires.of(fleet, question, len(devices), stack_bytes, spread)
    seconds = _seconds(fleet, question, devices, caches, wires)
    memory = memory_phases(fleet.classes, devices)
    resources = [seconds] if question.budgets.round_time_s is not None else []
    if np.isfinite(devices.memory_bytes).any():
        resources += uncovered(memory)
    resources += _traffic(fleet, question, devices, wires)
    if question.budgets.energy_j is not None:
        resources.append(
            _energy(fleet, question.budgets.energy_j, seconds, wires, devices.class_index)
        )
    if question.max_depth is not None and question.max_depth < fleet.model.layers:
        resources.append(_depth(fleet, len(devices), question.max_depth))
    for q in (seconds, *memory, *resources):
        _check_size(q, devices.names, [c.name for c in fleet.classes])
    return Costs(
        devices=devices,
        sizes=wires.sizes,
        seconds=seconds,
        memory=memory,
        resources=tuple(resources),
        upload=wires.upload,
        download=wires.download,
        caches=caches,
        stack_bytes=stack_bytes,
        power_w=_by_class(fleet, "power_w"),
        radio_j_per_byte=_by_class(fleet, "radio_j_per_byte"),
        links=Links.of(fleet, devices, wires.sent, wires.received),
        spread=spread,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wires:
    """Bytes that travel.

    Parameters
    ----------
    sizes : array of int, shape (L,)
    upload, download : Payload
    sent, received : Traffic
        Of every device, by its own ranks.
    """

    sizes: Ints
    upload: Payload
    download: Payload
    sent: Traffic
    received: Traffic

    @classmethod
    def of(
        cls,
        fleet: Fleet,
        question: Question,
        n: int,
        stack_bytes: float | Floats | None,
        spread: Spread,
    ) -> Self:
        sizes = np.array(fleet.lora.parameters_per_rank[::-1], dtype=np.int64)
        upload = Payload.of(fleet, question.upload_codec)
        download = Payload.of(fleet, question.download_codec)
        received = _own(download, sizes, n, spread)
        if stack_bytes is not None:
            whole = _alike(download.head_bytes + stack_bytes, n)
            received = Traffic(fixed=whole, width=0.0)
        return cls(
            sizes=sizes,
            upload=upload,
            download=download,
            sent=_own(upload, sizes, n, spread),
            received=received,
        )


def _own(payload: Payload, sizes: Ints, n: int, spread: Spread) -> Traffic:
    """Traffic of adapters of each device's own shape."""
    counted = payload.spread(sizes, spread)
    return Traffic(
        fixed=_alike(payload.head_bytes, n),
        width=counted.bytes_per_parameter,
        flat=counted.bytes_per_rank,
    )


def _seconds(
    fleet: Fleet,
    question: Question,
    devices: Devices,
    caches: Caches | None,
    wires: _Wires,
) -> Resource:
    """Round time: local steps, less what caches spare, then upload, download and latency."""
    steps = [_step_tables(c) for c in fleet.classes]
    compute = devices.time_scale * devices.local_steps
    up_s, down_s = 1 / devices.uplink_bytes_per_s, 1 / devices.downlink_bytes_per_s
    sent, received = wires.sent, wires.received
    return Resource(
        name="round time",
        unit="s",
        by_depth=np.array([s[0] for s in steps]),
        per_rank=np.array([s[1] for s in steps]),
        scale=compute,
        offset=devices.latency_s + sent.fixed * up_s + received.fixed * down_s,
        wire=sent.width * up_s + received.width * down_s,
        limit=_alike(question.budgets.round_time_s, len(devices)),
        spare=None if caches is None else np.array([prefix_s(c) for c in fleet.classes]),
        saving=None if caches is None else compute * caches.spared,
        flat=sent.flat * up_s + received.flat * down_s if sent.flat or received.flat else None,
    )


def _energy(
    fleet: Fleet, budget_j: float, seconds: Resource, wires: _Wires, c: Ints
) -> Resource:
    """Draw of the device while it computes, and radio energy of all bytes.

    Refused where a draw is not known: it would count as nothing and pass any budget.
    """
    power_w, radio = (_by_class(fleet, f)[c] for f in ("power_w", "radio_j_per_byte"))
    if not power_w.all():
        owner = fleet.classes[int(c[power_w == 0][0])].name
        raise FleetError(
            f"class '{owner}': its draw under load, device.power_w, is not known, so no budget "
            f"on energy can be kept; give watts above 0 (--set 'class={owner},power_w=W'), or "
            "no budget on energy"
        )
    sent, received = wires.sent, wires.received
    flat = sent.flat + received.flat
    return replace(
        seconds,
        name="energy",
        unit="J",
        scale=seconds.scale * power_w,
        offset=(sent.fixed + received.fixed) * radio,
        wire=(sent.width + received.width) * radio,
        limit=_alike(budget_j, len(c)),
        saving=None if seconds.saving is None else seconds.saving * power_w,
        flat=flat * radio if flat else None,
    )


def _traffic(
    fleet: Fleet, question: Question, devices: Devices, wires: _Wires
) -> list[Resource]:
    """Upload and download, where they are budgeted."""
    budgets, n = question.budgets, len(devices)
    ways = (
        ("upload", budgets.upload_bytes, wires.sent),
        ("download", budgets.download_bytes, wires.received),
    )
    return [
        replace(
            _counted(fleet, n, name, "bytes", limit),
            offset=way.fixed,
            wire=_alike(way.width, n),
            flat=_alike(way.flat, n) if way.flat else None,
        )
        for name, limit, way in ways
        if limit is not None
    ]


def _depth(fleet: Fleet, n: int, limit: int) -> Resource:
    """Adapted layers, as a resource: so every method keeps a greatest depth."""
    layers = fleet.model.layers
    by_depth = np.tile(np.arange(layers + 1.0), (len(fleet.classes), 1))
    return replace(_counted(fleet, n, MAX_DEPTH, "layers", limit), by_depth=by_depth)


def _counted(fleet: Fleet, n: int, name: str, unit: str, limit: float) -> Resource:
    """What costs nothing yet."""
    classes, layers = len(fleet.classes), fleet.model.layers
    return Resource(
        name=name,
        unit=unit,
        by_depth=np.zeros((classes, layers + 1)),
        per_rank=np.zeros((classes, layers)),
        scale=_alike(1.0, n),
        offset=_alike(0.0, n),
        wire=_alike(0.0, n),
        limit=_alike(limit, n),
    )


def _alike(value: float | Floats | None, n: int) -> Floats:
    """The same for every device, without a million copies of it; None is no limit."""
    given = np.asarray(np.inf if value is None else value, dtype=np.float64)
    return np.broadcast_to(given, n)


def _by_class(fleet: Fleet, field: str) -> Floats:
    return np.array([getattr(c.device, field) for c in fleet.classes])


def _check_size(q: Resource, devices: Sequence[str], classes: Sequence[str]) -> None:
    """Refuse figures whose sums would overflow, for overflows compare as nonsense."""
    owners = (("device", devices, (q.scale, q.offset, q.wire)),
              ("class", classes, (q.by_depth, q.per_rank)))  # fmt: skip
    for kind, names, columns in owners:
        for column in columns:
            if not column.max() <= LARGEST:
                row = int(np.unravel_index(column.argmax(), column.shape)[0])
                raise FleetError(
                    f"{kind} '{names[row]}': its {q.name} runs to {column.max():.3g} {q.unit}; "
                    f"expected less than {LARGEST:g} {q.unit}"
                )


def _step_tables(device_class: DeviceClass) -> tuple[Floats, Floats]:
    """Seconds of a step by depth, shape (L + 1,), and by rank, (L,) from the output."""
    time = device_class.time
    bare_s = time.embedding_s + sum(time.forward_s) + time.head_s
    backward_s = np.cumsum([0.0, *time.backward_s[::-1]])
    return bare_s + backward_s, np.array(time.lora_s_per_rank[::-1])
