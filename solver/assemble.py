"""From an allocation to a plan: configurations, predictions, what binds, the certificate."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from msgspec import UNSET, UnsetType

from profiler.schema import provenance
from solver.allocation import (
    Allocation,
    busy_s,
    cost,
    mean_wait_s,
    server_ranks,
    utility,
)
from solver.costs.caching import ALWAYS, KINDS, OFF, Kinds, storage_bytes
from solver.costs.devices import Floats, Ints
from solver.explain.binding import binding
from solver.fill import filled
from solver.links.said import link_of, predicted_links
from solver.plan import (
    Certificate,
    Configuration,
    Kept,
    Plan,
    PlannedDevice,
    PredictedDevice,
    PredictedRound,
)
from solver.problem import Problem
from solver.seal import sealed


def assemble(
    problem: Problem,
    allocation: Allocation,
    certificate: Certificate,
    *,
    seed: int = 0,
    options: dict[str, str] | None = None,
    inputs: tuple[Path, ...] = (),
    kept: Kept | UnsetType = UNSET,
) -> Plan:
    """Write an allocation out as a plan.

    Parameters
    ----------
    problem : Problem
    allocation : Allocation
    certificate : Certificate
    seed, options, inputs
        Provenance.
    kept : Kept, optional
        What it has of an earlier plan.
    """
    # Whatever stops a device from a layer more, stops it before its wait is filled.
    stopped = binding(problem, allocation)
    problem = filled(problem, allocation)
    fleet, devices = problem.fleet, problem.costs.devices
    configurations, index = _configurations(allocation)
    caches = _caches(problem, allocation)
    predicted = predicted_by_device(problem, allocation)
    class_names = [c.name for c in fleet.classes]
    return Plan(
        provenance=provenance(seed=seed, options=options, inputs=inputs),
        model=fleet.model,
        training=fleet.training,
        lora=fleet.lora,
        question=problem.question,
        ranks=server_ranks(allocation)[::-1].tolist(),
        configurations=configurations,
        devices=[
            PlannedDevice(
                name=devices.names[i],
                device_class=class_names[devices.class_index[i]],
                count=int(devices.count[i]),
                configuration=None if index[i] < 0 else int(index[i]),
                examples=int(devices.examples[i]),
                local_steps=int(devices.local_steps[i]),
                cache=KINDS[caches[i]],
                link=link_of(problem.costs, i),
                predicted=None
                if index[i] < 0
                else PredictedDevice(**{name: float(v[i]) for name, v in predicted.items()}),
                binding=why,
            )
            for i, why in enumerate(stopped)
        ],
        links=predicted_links(problem.costs, allocation),
        predicted=_round(problem, allocation, predicted),
        certificate=sealed(problem.question, certificate),
        kept=kept,
    )


def _configurations(allocation: Allocation) -> tuple[list[Configuration], Ints]:
    """Distinct adapter shapes, shallow first, and each device's index (-1 if left out)."""
    layer = np.arange(allocation.rows.shape[1])
    ranks = np.where(layer < allocation.depth[:, None], allocation.rows[allocation.row], 0)
    keys = np.concatenate([allocation.depth[:, None], ranks], axis=1)
    shapes, index = np.unique(keys, axis=0, return_inverse=True)
    skipped = int((shapes[:, 0] < 0).sum())
    configurations = [
        Configuration(depth=int(shape[0]), ranks=shape[:0:-1].tolist())
        for shape in shapes[skipped:]
    ]
    return configurations, index.reshape(-1) - skipped


def _caches(problem: Problem, allocation: Allocation) -> Kinds:
    """Cache of every device at its depth; none where it has nothing to spare."""
    costs, depth = problem.costs, allocation.depth
    kind = np.zeros(len(depth), dtype=np.int8)
    if costs.caches is not None and costs.seconds.spare is not None:
        spares = costs.seconds.spare[costs.devices.class_index, depth.clip(0)] > 0
        kind = np.where(spares & allocation.taking_part, costs.caches.kind, OFF)
    return kind


def predicted_by_device(problem: Problem, allocation: Allocation) -> dict[str, Floats]:
    """Columns of `PredictedDevice`; rows of devices left out are meaningless."""
    return _predict(problem, allocation, _caches(problem, allocation))


def _predict(problem: Problem, allocation: Allocation, caches: Kinds) -> dict[str, Floats]:
    costs, fleet = problem.costs, problem.fleet
    devices, c = costs.devices, costs.devices.class_index
    rows, row, depth = allocation.rows, allocation.row, np.maximum(allocation.depth, 0)
    size, ranks = (_summed(each)[row, depth] for each in (rows * costs.sizes, rows))
    sent, own = (
        way.adapter_bytes(size, ranks) + way.head_bytes
        for way in (costs.upload, costs.download)
    )
    upload_s = sent / devices.uplink_bytes_per_s
    # Everybody's adapters in a stack, or one of the device's own shape.
    stacked = (
        None if costs.stack_bytes is None else costs.stack_bytes + costs.download.head_bytes
    )
    received = own if stacked is None else np.full_like(sent, stacked)
    download_s = received / devices.downlink_bytes_per_s
    compute = replace(costs.seconds, offset=0 * sent, wire=0 * sent, flat=None)
    compute_s = cost(costs, compute, rows, row, depth)
    time_s = compute_s + upload_s + download_s + devices.latency_s
    phases = [cost(costs, q, rows, row, depth) for q in costs.memory]
    slowest = time_s[allocation.taking_part].max(initial=0.0)
    slowest = busy_s(costs, allocation).max(initial=slowest)
    return {
        "time_s": time_s,
        "compute_s": compute_s,
        "upload_s": upload_s,
        "download_s": download_s,
        "wait_s": np.maximum(slowest - time_s, 0.0),
        "memory_bytes": np.max(phases, axis=0),
        "upload_bytes": sent,
        "download_bytes": received,
        "energy_j": costs.power_w[c] * compute_s
        + costs.radio_j_per_byte[c] * (sent + received),
        "storage_bytes": storage_bytes(fleet, devices, caches),
        "cache_build_s": np.where(caches == ALWAYS, _build_s(problem, depth), 0.0),
    }


def _build_s(problem: Problem, depth: Ints) -> Floats:
    """Seconds to fill a cache of all examples, once: a prefix for each batch of them."""
    costs, devices = problem.costs, problem.costs.devices
    if costs.seconds.spare is None:
        return np.zeros(len(depth))
    batches = devices.examples / problem.fleet.training.batch_size
    prefix_s = costs.seconds.spare[devices.class_index, depth]
    return np.asarray(devices.time_scale * batches * prefix_s)


def _summed(values: Ints) -> Ints:
    """Sums over the first k layers, for k = 0..L."""
    return np.pad(np.cumsum(values, axis=1), ((0, 0), (1, 0)))


def _round(
    problem: Problem, allocation: Allocation, predicted: dict[str, Floats]
) -> PredictedRound:
    part, count = allocation.taking_part, problem.costs.devices.count

    def total(name: str) -> float:
        return float(np.dot(predicted[name][part], count[part]))

    used = problem.costs.devices.class_index[part]
    errors = np.array([c.time.error_fraction for c in problem.fleet.classes])
    return PredictedRound(
        utility=utility(problem, allocation),
        round_time_s=float(
            busy_s(problem.costs, allocation).max(
                initial=predicted["time_s"][part].max(initial=0.0)
            )
        ),
        mean_wait_s=mean_wait_s(problem, allocation),
        upload_bytes=total("upload_bytes"),
        download_bytes=total("download_bytes"),
        energy_j=total("energy_j"),
        time_error_fraction=float(errors[used].max(initial=0.0)),
    )
