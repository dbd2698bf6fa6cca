"""Limits of devices' own for random fleets (`solver.instances`), such that they matter."""

import numpy as np
from msgspec.structs import replace

from profiler.schema import LIMITS, Fleet
from solver.allocation import shared
from solver.assemble import predicted_by_device
from solver.costs.devices import Floats
from solver.problem import Problem

__all__ = ["with_limits"]

# What each limit holds for, as `PredictedDevice` names it.
_FIGURES = dict(
    zip(LIMITS, ("upload_bytes", "download_bytes", "energy_j", "time_s"), strict=True)
)
# Share of the way from the least configuration to the largest where the tightest limits lie.
_TIGHTEST = 0.05


def with_limits(fleet: Fleet, seed: int, share: float) -> Fleet:
    """Give some devices and some classes limits; the same arguments give the same fleet.

    Parameters
    ----------
    fleet : Fleet
        Without limits.
    seed : int
    share : float
        Of the devices, and of the classes, that have some.
    """
    problem = Problem.of(fleet, ranks=fleet.gain.ranks)
    least = _needs(problem, 1, int(problem.ranks[0]))
    most = _needs(problem, problem.layers, int(problem.ranks[-1]))
    owner = np.array([d.device_class for d in fleet.devices])

    def limits(stream: int, row: int, members: Floats) -> dict[str, float]:
        rng = np.random.default_rng([seed, row, stream])
        if rng.random() >= share:
            return {}
        kinds = rng.choice(LIMITS, size=int(rng.integers(1, 3)), replace=False)
        found = {}
        for kind in sorted(kinds.tolist()):
            low, high = least[kind][members].max(), most[kind][members].max()
            found[kind] = float(low + rng.uniform(_TIGHTEST, 1) * (high - low))
        return found

    each = np.arange(len(owner))
    return replace(
        fleet,
        classes=[
            replace(c, **limits(1, i, owner == c.name)) if (owner == c.name).any() else c
            for i, c in enumerate(fleet.classes)
        ],
        devices=[replace(d, **limits(2, i, each == i)) for i, d in enumerate(fleet.devices)],
    )


def _needs(problem: Problem, depth: int, rank: int) -> dict[str, Floats]:
    """What everybody needs at one depth and rank, shape (N,), by limit."""
    everybody = np.full(len(problem.costs.devices), depth)
    at = shared(problem, np.full(problem.layers, rank), everybody)
    figures = predicted_by_device(problem, at)
    return {field: figures[name] for field, name in _FIGURES.items()}
