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

import numpy as np

from profiler.schema import DeviceClass, Fleet
from solver.costs.caching import Caches, choose, prefix_s
from solver.costs.devices import Devices, Floats
from solver.costs.limited import MAX_DEPTH, limited
from solver.costs.payload import Spread
from solver.costs.phases import memory_phases, uncovered
from solver.costs.resource import Costs, Resource
from solver.costs.wires import Wires, alike
from solver.errors import FleetError
from solver.links.graph import Links
from solver.plan import Question

__all__ = ["MAX_DEPTH", "Costs", "Resource", "build_costs"]

# Largest figure that may enter a cost; products of a few of them stay finite.
LARGEST = 1e60


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
        Its budgets (one that is None is not a resource), greatest depth, cache and codecs;
        limits of devices' own are resources beside them, see `solver.costs.limited`.
    devices : Devices, optional
        Replaces the fleet's own devices (a million of them, from arrays).
    stack_bytes : float or array, optional
        See `Costs`.
    spread : {'none', 'less', 'more'}
        See `Costs`.
    """
    devices = Devices.of(fleet) if devices is None else devices
    caches = choose(fleet, devices, question.cache, question.cache_rounds)
    wires = Wires.of(fleet, question, len(devices), stack_bytes, spread)
    seconds = _seconds(fleet, question, devices, caches, wires)
    memory = memory_phases(fleet.classes, devices)
    resources = [seconds] if question.budgets.round_time_s is not None else []
    if np.isfinite(devices.memory_bytes).any():
        resources += uncovered(memory)
    resources += limited(fleet, question, devices, seconds, wires)
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


def _seconds(
    fleet: Fleet,
    question: Question,
    devices: Devices,
    caches: Caches | None,
    wires: Wires,
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
        limit=alike(question.budgets.round_time_s, len(devices)),
        spare=None if caches is None else np.array([prefix_s(c) for c in fleet.classes]),
        saving=None if caches is None else compute * caches.spared,
        flat=sent.flat * up_s + received.flat * down_s if sent.flat or received.flat else None,
    )


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
