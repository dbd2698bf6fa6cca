"""Planning problems that several cases share."""

from collections.abc import Sequence

from profiler.fleet import FleetRequest, preset_fleet
from profiler.schema import Fleet, InputError
from solver.least import least_round_time_s
from solver.problem import DEFAULT_RANKS, Problem

__all__ = ["paper_80", "paper_80_fleet"]

# Enough for the slowest device to train a layer, too little for most to train all.
ROOM = 1.5


def paper_80_fleet(seed: int, *, devices: int = 0, model: str = "") -> Fleet:
    """The preset fleet of a seed."""
    return preset_fleet(FleetRequest(seed=seed, devices=devices, model=model, options={}))


def paper_80(
    seed: int,
    *,
    devices: int = 0,
    model: str = "",
    ranks: Sequence[int] = DEFAULT_RANKS,
) -> Problem:
    """Most utility on the preset fleet, at `ROOM` times the least feasible round time."""
    fleet = paper_80_fleet(seed, devices=devices, model=model)
    patient = Problem.of(fleet, ranks=ranks)
    least_s = least_round_time_s(patient)
    if least_s is None:
        raise InputError(f"paper-80, seed {seed}: no round time is long enough")
    return patient.under(round_time_s=ROOM * least_s)
