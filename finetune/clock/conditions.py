"""Devices of a fleet as they are in a round: class, bandwidths, and whether they are there."""

from bisect import bisect_right
from itertools import zip_longest
from typing import NamedTuple

from profiler.schema import Fleet, FleetDevice, Trace
from solver.plan import InputError, Plan

__all__ = ["Conditions", "Moment", "check_plan"]

# Share of the seconds passed by which a clock may miss an edge that it waited for.
ROUNDING = 1e-12


class Moment(NamedTuple):
    """When a round begins: rounds played before it, and seconds on the clock."""

    round_index: int
    now_s: float = 0.0


class Conditions:
    """The devices of a fleet at any moment, under a trace or, without one, unchanging.

    A trace that ends before the run does begins again.

    Parameters
    ----------
    fleet : Fleet
        The devices to begin with; what a trace does not name stays as it is.
    trace : Trace, optional
        How they change, by round or by second.

    Raises
    ------
    InputError
        If the trace names a device or a class that the fleet lacks.
    """

    def __init__(self, fleet: Fleet, trace: Trace | None = None) -> None:
        self._fleet = fleet
        self._trace = trace
        if trace:
            trace.check_names(fleet)

    def at(self, when: Moment) -> dict[str, FleetDevice]:
        """Devices available at a moment, by name, as they are then."""
        if self._trace is None:
            return {device.name: device for device in self._fleet.devices}
        there = self._trace.devices_at(_position(self._trace, when), self._fleet)
        return {device.name: device for device in there}

    def next_s(self, when: Moment) -> float:
        """Seconds until anything changes; 0 where the trace counts rounds, or there is none."""
        trace = self._trace
        if trace is None or trace.unit == "rounds":
            return 0.0
        at = _position(trace, when)
        return trace.edges[bisect_right(trace.edges, at)] - at


def _position(trace: Trace, when: Moment) -> float:
    """Round or second of a trace that begins again when it ends."""
    edges = trace.edges
    if trace.unit == "rounds":
        return when.round_index % edges[-1]
    at = when.now_s % edges[-1]
    # Else what is left to the edge could be too little to move the clock, for ever.
    ahead = edges[bisect_right(edges, at)]
    return ahead % edges[-1] if ahead - at <= ROUNDING * when.now_s else at


def check_plan(fleet: Fleet, plan: Plan) -> None:
    """Refuse a fleet that is not the one planned for; conditions may differ, devices not."""
    if (fleet.model, fleet.lora) != (plan.model, plan.lora):
        raise InputError(
            f"--fleet is for model '{fleet.model.name}' with other sizes than the plan's "
            f"'{plan.model.name}'; give the fleet that the plan was made for"
        )
    seen = [(d.name, d.count, d.examples) for d in fleet.devices]
    expected = [(d.name, d.count, d.examples) for d in plan.devices]
    for one, other in zip_longest(seen, expected):
        if one != other:
            raise InputError(
                f"--fleet has {_words(one)} where the plan has {_words(other)}; give the "
                "fleet that the plan was made for"
            )


def _words(device: tuple[str, int, int] | None) -> str:
    if device is None:
        return "no device"
    name, count, examples = device
    return f"{count} device(s) '{name}' of {examples} examples"
