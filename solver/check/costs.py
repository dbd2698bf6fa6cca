"""What a plan costs, worked out again from the fleet alone.

Plain sums over layers and devices, as the cost model is written down, and nothing else: no
array tricks and no line in common with the solvers, so that a mistake there shows here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from profiler.schema import DepthCost, DeviceClass, Fleet, FleetDevice, Gain, Memory, StepTime
from solver.check.links import LinkTraffic, link_traffic
from solver.plan import Cache, Codec, Configuration, Plan, PredictedDevice, PredictedRound

__all__ = [
    "Recomputed",
    "Shape",
    "device_cost",
    "distinct",
    "example_bytes",
    "layer_gain",
    "prefix_s",
    "recompute",
    "shape_of",
    "stack_bytes",
]

Ranks = Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """Every figure that a plan predicts, recomputed.

    Attributes
    ----------
    devices : dict of str to PredictedDevice
        By device name; those that do not take part are left out.
    round : PredictedRound
        Of everybody together.
    mean_depth : float
        Adapted layers, weighted as the utility is.
    links : dict of str to LinkTraffic
        By link name; none where no device is behind a link.
    """

    devices: dict[str, PredictedDevice]
    round: PredictedRound
    mean_depth: float
    links: dict[str, LinkTraffic]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a round costs all devices of one class and configuration alike."""

    step_s: float
    prefix_s: float
    upload_bytes: float
    download_bytes: float
    memory_bytes: float


def recompute(plan: Plan, fleet: Fleet) -> Recomputed:
    """Recompute the predictions of `plan` for `fleet`, which must have the same layers."""
    chosen = _chosen(plan)
    caches = {d.name: d.cache for d in reversed(plan.devices)}
    steps = {d.name: d.local_steps for d in reversed(plan.devices)}
    classes = {c.name: c for c in fleet.classes}
    shapes: dict[tuple[str, int], Shape] = {}
    alone: dict[str, PredictedDevice] = {}
    stack = stack_bytes(plan, fleet)
    for device in fleet.devices:
        index = chosen.get(device.name)
        if index is None:
            continue
        owner = classes[device.device_class]
        key = (owner.name, index)
        if key not in shapes:
            shapes[key] = shape_of(plan, fleet, owner, plan.configurations[index])
        # Whether it may take so many steps, `solver.check.shape` says.
        trained = replace(device, local_steps=steps[device.name])
        alone[device.name] = device_cost(
            fleet, owner, trained, shapes[key], stack, caches[device.name]
        )
    links = link_traffic(fleet, alone)
    slowest_s = max((p.time_s for p in alone.values()), default=0.0)
    slowest_s = max([slowest_s, *(link.busy_s for link in links.values())])
    devices = {name: replace(p, wait_s=slowest_s - p.time_s) for name, p in alone.items()}
    return Recomputed(
        devices=devices,
        round=_round(plan, fleet, chosen, devices, slowest_s, classes),
        mean_depth=_weighted(
            plan, fleet, chosen, [float(c.depth) for c in plan.configurations]
        ),
        links=links,
    )


def _chosen(plan: Plan) -> dict[str, int]:
    """Index of the configuration of each device that takes part; the first entry counts."""
    entries = {d.name: d.configuration for d in reversed(plan.devices)}
    return {name: index for name, index in entries.items() if index is not None}


def stack_bytes(plan: Plan, fleet: Fleet) -> float | None:
    """Bytes of the adapters of all who take part, and of one head; None if not stacked."""
    if plan.question.download != "stacked":
        return None
    codec, chosen = plan.question.download_codec, _chosen(plan)
    adapters = [_adapter_bytes(fleet, codec, c.ranks) for c in plan.configurations]
    stacked = [d.count * adapters[chosen[d.name]] for d in fleet.devices if d.name in chosen]
    return math.fsum([*stacked, _head_bytes(fleet, codec)])


def shape_of(
    plan: Plan, fleet: Fleet, owner: DeviceClass, configuration: Configuration
) -> Shape:
    """Work out what devices of a class share that train a configuration."""
    ranks, asked = configuration.ranks, plan.question
    return Shape(
        step_s=_step_s(owner.time, ranks),
        prefix_s=prefix_s(owner.time, configuration.depth),
        upload_bytes=_bytes(fleet, asked.upload_codec, ranks),
        download_bytes=_bytes(fleet, asked.download_codec, ranks),
        memory_bytes=_memory_bytes(owner.memory, ranks),
    )


def _bytes(fleet: Fleet, codec: Codec, ranks: Ranks) -> float:
    """Bytes of the adapters and the head as a codec sends them, either way."""
    return _adapter_bytes(fleet, codec, ranks) + _head_bytes(fleet, codec)


def _adapter_bytes(fleet: Fleet, codec: Codec, ranks: Ranks) -> float:
    """Bytes of adapters alone.

    `float16` sends 2 bytes for each parameter. `int8` sends, for every rank of every adapted
    module, a byte a parameter and two float32 scales.
    """
    lora = list(zip(fleet.lora.parameters_per_rank, ranks, strict=True))
    if codec == "int8":
        scales = 2 * 4 * len(fleet.model.targets)
        return float(sum((p + scales) * r for p, r in lora))
    width = 2 if codec == "float16" else fleet.lora.bytes_per_parameter
    return float(width * sum(p * r for p, r in lora))


def _head_bytes(fleet: Fleet, codec: Codec) -> float:
    """Bytes of the task head: 2 a parameter with any codec."""
    width = fleet.lora.bytes_per_parameter if codec == "none" else 2
    return float(width * fleet.model.head_parameters)


def prefix_s(time: StepTime, depth: int) -> float:
    """Seconds of a step spent below the adapted layers; a cache has no use at depth 0."""
    if depth == 0:
        return 0.0
    bare = len(time.forward_s) - depth
    return math.fsum([time.embedding_s, *time.forward_s[:bare]])


def example_bytes(fleet: Fleet) -> int:
    """Bytes a cache keeps for an example."""
    width = {"float32": 4, "bfloat16": 2, "float16": 2}[fleet.training.dtype]
    return fleet.training.sequence_length * fleet.model.hidden_size * width


def distinct(fleet: Fleet, device: FleetDevice) -> int:
    """Different examples that a round's steps meet."""
    return min(device.examples, device.local_steps * fleet.training.batch_size)


def _adapted(ranks: Ranks) -> list[int]:
    return [layer for layer, rank in enumerate(ranks) if rank > 0]


def _step_s(time: StepTime, ranks: Ranks) -> float:
    """Forward through every layer, backward and LoRA through the adapted ones."""
    forward = [time.embedding_s, *time.forward_s, time.head_s]
    trained = [
        time.backward_s[layer] + time.lora_s_per_rank[layer] * ranks[layer]
        for layer in _adapted(ranks)
    ]
    return math.fsum(forward + trained)


def _memory_bytes(memory: Memory, ranks: Ranks) -> float:
    """Weights and framework, and the phase that needs most on top of them."""
    phases = (memory.forward_bytes, memory.backward_bytes, memory.optimizer_bytes)
    peak = max(_phase_bytes(phase, ranks) for phase in phases)
    return memory.weights_bytes + memory.framework_bytes + peak


def _phase_bytes(phase: DepthCost, ranks: Ranks) -> float:
    adapted = _adapted(ranks)
    terms = [phase.per_rank[layer] * ranks[layer] for layer in adapted]
    return math.fsum([phase.by_depth[len(adapted)], *terms])


def device_cost(
    fleet: Fleet,
    owner: DeviceClass,
    device: FleetDevice,
    shape: Shape,
    stack: float | None,
    cache: Cache,
) -> PredictedDevice:
    """Cost of one device, without its wait, which hangs on the others.

    It receives an adapter of its own shape, or everybody's adapters, `stack` bytes.
    """
    batch = fleet.training.batch_size
    prefixes, kept, build_s = float(device.local_steps), 0, 0.0
    if cache == "round":
        kept = distinct(fleet, device)
        prefixes = kept / batch
    elif cache == "always":
        kept, prefixes = device.examples, 0.0
        build_s = device.time_scale * (kept / batch) * shape.prefix_s
    rest_s = shape.step_s - shape.prefix_s
    compute_s = device.time_scale * math.fsum(
        [device.local_steps * rest_s, prefixes * shape.prefix_s]
    )
    sent_bytes = shape.upload_bytes
    upload_s = sent_bytes / device.uplink_bytes_per_s
    received_bytes = shape.download_bytes if stack is None else stack
    download_s = received_bytes / device.downlink_bytes_per_s
    machine = owner.device
    return PredictedDevice(
        time_s=math.fsum([compute_s, upload_s, download_s, device.latency_s]),
        compute_s=compute_s,
        upload_s=upload_s,
        download_s=download_s,
        wait_s=0.0,
        memory_bytes=shape.memory_bytes,
        upload_bytes=sent_bytes,
        download_bytes=received_bytes,
        energy_j=machine.power_w * compute_s
        + machine.radio_j_per_byte * (sent_bytes + received_bytes),
        storage_bytes=float(kept * example_bytes(fleet)),
        cache_build_s=build_s,
    )


def _round(
    plan: Plan,
    fleet: Fleet,
    chosen: dict[str, int],
    devices: dict[str, PredictedDevice],
    slowest_s: float,
    classes: dict[str, DeviceClass],
) -> PredictedRound:
    active = [d for d in fleet.devices if d.name in devices]
    parts = [(d.count, devices[d.name]) for d in active]
    heads = sum(count for count, _ in parts)
    gains = [_gain(fleet.gain, c.ranks) for c in plan.configurations]
    errors = [classes[d.device_class].time.error_fraction for d in active]
    return PredictedRound(
        utility=_weighted(plan, fleet, chosen, gains),
        round_time_s=slowest_s,
        mean_wait_s=math.fsum(n * p.wait_s for n, p in parts) / max(heads, 1),
        upload_bytes=math.fsum(n * p.upload_bytes for n, p in parts),
        download_bytes=math.fsum(n * p.download_bytes for n, p in parts),
        energy_j=math.fsum(n * p.energy_j for n, p in parts),
        time_error_fraction=max(errors, default=0.0),
    )


def _weighted(
    plan: Plan, fleet: Fleet, chosen: dict[str, int], gains: Sequence[float]
) -> float:
    """Weighted mean of the devices' gains over the whole fleet; absent ones gain nothing."""
    by_examples = plan.question.weights == "examples"
    total, terms = 0, []
    for device in fleet.devices:
        weight = device.count * (device.examples if by_examples else 1)
        total += weight
        if device.name in chosen:
            terms.append(weight * gains[chosen[device.name]])
    return math.fsum(terms) / total


def _gain(gain: Gain, ranks: Ranks) -> float:
    return math.fsum(layer_gain(gain, layer, ranks[layer]) for layer in _adapted(ranks))


def layer_gain(gain: Gain, layer: int, rank: int) -> float:
    """Gain of a layer: linear between the listed ranks, from (0, 0), flat above the last."""
    low_rank, low_gain = 0, 0.0
    for high_rank, high_gain in zip(gain.ranks, gain.by_layer[layer], strict=True):
        if rank <= high_rank:
            share = (rank - low_rank) / (high_rank - low_rank)
            return low_gain + share * (high_gain - low_gain)
        low_rank, low_gain = high_rank, high_gain
    return low_gain
