"""Costs of a configuration: a table by depth plus a slope by rank, for every resource.

All a solver knows of a device is, for each limited resource q,

    cost_q(i, k, r) = scale_i (by_depth[c, k] + sum_{j<=k} per_rank[c, j] r_j)
                      + offset_i + wire_i sum_{j<=k} size_j r_j   <=   limit_i

with c the class of device i. Layers are counted from the *output* here: j = 1 is the last
layer, at index 0. A download of everybody's adapters, stacked, is part of the offset: it does
not depend on the device's own ranks. See design section 2; the cost model is that of LEGEND
(arXiv 2412.20004) as far as known, with measured tables in place of its proportional terms.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from profiler.schema import DepthCost, DeviceClass, Fleet, InputError
from solver.devices import Devices, Floats, Ints
from solver.links import Links, Traffic
from solver.plan import MAX_RANK, Budgets

# Devices handled at once: a few columns of them fit the second-level cache.
BLOCK = 1 << 15
# Largest figure that may enter a cost; products of a few of them stay finite.
LARGEST = 1e60


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One limited quantity of every device.

    Parameters
    ----------
    name : str
        What it is called in plans and explanations: 'round time', 'memory' ...
    unit : str
        's', 'bytes' or 'J'.
    by_depth : array, shape (C, L + 1)
        Cost at depth k and rank 0, by class.
    per_rank : array, shape (C, L)
        Cost of one rank, by class and layer from the output.
    scale, offset, wire, limit : array, shape (N,)
        Multiplier of the class's cost, fixed cost, cost per LoRA parameter, and limit.
    """

    name: str
    unit: str
    by_depth: Floats
    per_rank: Floats
    scale: Floats
    offset: Floats
    wire: Floats
    limit: Floats

    def __getitem__(self, where: slice) -> Self:
        return replace(
            self,
            scale=self.scale[where],
            offset=self.offset[where],
            wire=self.wire[where],
            limit=self.limit[where],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """The resources of a fleet and what it takes to predict a round.

    Parameters
    ----------
    devices : Devices
        N rows.
    sizes : array of int, shape (L,)
        LoRA parameters a rank adds, by layer from the output.
    seconds : Resource
        Round time; its limit is infinite unless budgeted.
    resources : tuple of Resource
        Everything limited by the budgets or by a device's memory.
    memory : tuple of Resource
        The three phases whose largest is the peak.
    head_bytes, bytes_per_parameter : float
    stack_bytes : float, array of shape (N,), or None
        What each device downloads beside the head, where adapters are stacked; None where it
        receives an adapter of its own shape.
    power_w, radio_j_per_byte : array, shape (C,)
    links : Links or None
        Links that devices share, if there are any.
    """

    devices: Devices
    sizes: Ints
    seconds: Resource
    memory: tuple[Resource, ...]
    resources: tuple[Resource, ...]
    head_bytes: float
    bytes_per_parameter: float
    stack_bytes: float | Floats | None
    power_w: Floats
    radio_j_per_byte: Floats
    links: Links | None = None

    def blocks(self) -> Iterator[tuple[slice, Self]]:
        """Cut the devices into blocks that stay in cache, as views, in order."""
        for start in range(0, len(self.devices), BLOCK):
            where = slice(start, start + BLOCK)
            yield (
                where,
                replace(
                    self,
                    devices=self.devices[where],
                    seconds=self.seconds[where],
                    memory=tuple(q[where] for q in self.memory),
                    resources=tuple(q[where] for q in self.resources),
                ),
            )


def build_costs(
    fleet: Fleet,
    budgets: Budgets,
    devices: Devices | None = None,
    stack_bytes: float | Floats | None = None,
) -> Costs:
    """Put a fleet under budgets.

    Parameters
    ----------
    fleet : Fleet
        Class tables, model and LoRA sizes.
    budgets : Budgets
        Limits; one that is None is not a resource.
    devices : Devices, optional
        Replaces the fleet's own devices (a million of them, from arrays).
    stack_bytes : float or array, optional
        See `Costs`.
    """
    devices = Devices.of(fleet) if devices is None else devices
    lora, model = fleet.lora, fleet.model
    sizes = np.array(lora.parameters_per_rank[::-1], dtype=np.int64)
    head_bytes = model.head_parameters * lora.bytes_per_parameter
    power_w = np.array([c.device.power_w for c in fleet.classes])
    radio = np.array([c.device.radio_j_per_byte for c in fleet.classes])
    steps = [_step_tables(c) for c in fleet.classes]
    step_s, step_slope_s = np.array([s[0] for s in steps]), np.array([s[1] for s in steps])
    zero_depth, zero_rank = np.zeros_like(step_s), np.zeros_like(step_slope_s)
    compute = devices.time_scale * devices.local_steps
    up_s, down_s = 1 / devices.uplink_bytes_per_s, 1 / devices.downlink_bytes_per_s
    width = lora.bytes_per_parameter
    # Bytes received whatever the device's ranks, and per LoRA parameter of its own.
    received_bytes = head_bytes + (0.0 if stack_bytes is None else stack_bytes)
    received_width = width if stack_bytes is None else 0.0

    def alike(value: float | Floats | None) -> Floats:
        """The same for every device, without a million copies of it."""
        given = np.asarray(np.inf if value is None else value, dtype=np.float64)
        return np.broadcast_to(given, len(devices))

    seconds = Resource(
        name="round time",
        unit="s",
        by_depth=step_s,
        per_rank=step_slope_s,
        scale=compute,
        offset=devices.latency_s + head_bytes * up_s + received_bytes * down_s,
        wire=width * up_s + received_width * down_s,
        limit=alike(budgets.round_time_s),
    )
    memory = tuple(_memory(fleet.classes, devices, phase) for phase in _PHASES)
    resources = [seconds] if budgets.round_time_s is not None else []
    if np.isfinite(devices.memory_bytes).any():
        resources.extend(_uncovered(memory))
    wires = (
        ("upload", budgets.upload_bytes, head_bytes, width),
        ("download", budgets.download_bytes, received_bytes, received_width),
    )
    for name, budget, fixed_bytes, slope_bytes in wires:
        if budget is not None:
            resources.append(
                Resource(
                    name=name,
                    unit="bytes",
                    by_depth=zero_depth,
                    per_rank=zero_rank,
                    scale=alike(0.0),
                    offset=alike(fixed_bytes),
                    wire=alike(slope_bytes),
                    limit=alike(budget),
                )
            )
    if budgets.energy_j is not None:
        c = devices.class_index
        resources.append(
            Resource(
                name="energy",
                unit="J",
                by_depth=step_s,
                per_rank=step_slope_s,
                scale=compute * power_w[c],
                offset=(head_bytes + received_bytes) * radio[c],
                wire=(width + received_width) * radio[c],
                limit=alike(budgets.energy_j),
            )
        )
    for q in (seconds, *memory, *resources):
        _check_size(q)
    return Costs(
        devices=devices,
        sizes=sizes,
        seconds=seconds,
        memory=memory,
        resources=tuple(resources),
        head_bytes=head_bytes,
        bytes_per_parameter=width,
        stack_bytes=stack_bytes,
        power_w=power_w,
        radio_j_per_byte=radio,
        links=Links.of(
            fleet,
            devices,
            Traffic(fixed=alike(head_bytes), width=width),
            Traffic(fixed=alike(received_bytes), width=received_width),
        ),
    )


def _check_size(q: Resource) -> None:
    """Refuse figures whose sums would overflow, for overflows compare as nonsense."""
    largest = [float(v.max()) for v in (q.scale, q.by_depth, q.per_rank, q.offset, q.wire)]
    if max(largest) > LARGEST:
        raise InputError(
            f"{q.name} of a device runs to {max(largest):.3g} {q.unit}; expected less than "
            f"{LARGEST:g} {q.unit}"
        )


_PHASES = ("forward_bytes", "backward_bytes", "optimizer_bytes")


def _step_tables(device_class: DeviceClass) -> tuple[Floats, Floats]:
    """Seconds of a step by depth, shape (L + 1,), and by rank, (L,) from the output."""
    time = device_class.time
    bare_s = time.embedding_s + sum(time.forward_s) + time.head_s
    backward_s = np.cumsum([0.0, *time.backward_s[::-1]])
    return bare_s + backward_s, np.array(time.lora_s_per_rank[::-1])


def _uncovered(memory: tuple[Resource, ...]) -> list[Resource]:
    """Phases that can be the peak: a phase below the others at every rank is no limit.

    Besides saving work, this keeps the problem exact where only a phase that never matters
    (the optimizer's, mostly) has costs out of proportion to the layers' sizes.
    """
    kept = list(memory)
    for q in reversed(memory):
        others = [p for p in kept if p is not q]
        covered = [
            p.by_depth - q.by_depth >= MAX_RANK * _excess_slope(q.per_rank - p.per_rank)
            for p in others
        ]
        if others and np.any(covered, axis=0).all():
            kept = others
    return kept


def _excess_slope(difference: Floats) -> Floats:
    """Sum of the positive differences over the last k layers, shape (C, L + 1)."""
    excess = np.maximum(difference, 0.0).cumsum(axis=1)
    return np.concatenate([np.zeros((len(excess), 1)), excess], axis=1)


def _memory(classes: list[DeviceClass], devices: Devices, phase: str) -> Resource:
    tables: list[DepthCost] = [getattr(c.memory, phase) for c in classes]
    base = np.array([c.memory.weights_bytes + c.memory.framework_bytes for c in classes])
    zero, one = (np.broadcast_to(np.float64(value), len(devices)) for value in (0, 1))
    return Resource(
        name="memory",
        unit="bytes",
        by_depth=base[:, None] + np.array([t.by_depth for t in tables]),
        per_rank=np.array([t.per_rank[::-1] for t in tables]),
        scale=one,
        offset=zero,
        wire=zero,
        limit=devices.memory_bytes,
    )
