"""Peak memory as resources: three phases of a training step, the largest of which counts."""

import numpy as np

from profiler.schema import DepthCost, DeviceClass
from solver.costs.devices import Devices, Floats
from solver.costs.resource import Resource
from solver.plan import MAX_RANK

_PHASES = ("forward_bytes", "backward_bytes", "optimizer_bytes")


def memory_phases(classes: list[DeviceClass], devices: Devices) -> tuple[Resource, ...]:
    """One resource a phase."""
    return tuple(_phase(classes, devices, phase) for phase in _PHASES)


def uncovered(memory: tuple[Resource, ...]) -> list[Resource]:
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


def _phase(classes: list[DeviceClass], devices: Devices, phase: str) -> Resource:
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


def _excess_slope(difference: Floats) -> Floats:
    """Sum of the positive differences over the last k layers, shape (C, L + 1)."""
    excess = np.maximum(difference, 0.0).cumsum(axis=1)
    return np.concatenate([np.zeros((len(excess), 1)), excess], axis=1)
