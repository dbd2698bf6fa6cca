"""Traces drawn by chance: power modes, bandwidth and outages of every device.

Each device is a process of its own, with a seed of its own that its name enters: adding a
device to a fleet leaves the traces of the others alone. Row 0 is the fleet itself.

- Power mode: a Markov chain over the classes of the fleet that are modes of one board. In
  each row the mode changes with a given probability, to any of the others alike.
- Bandwidth: the logarithm of the speed is a first-order autoregression,
  ``x[m] = c x[m - 1] + sigma sqrt(1 - c^2) e[m]``, around the device's own speed, which is
  its median. Up and down share one x, as they share one channel. Speeds stay within bounds.
- Outages: a Markov chain of two states; both sojourns are geometric.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist

from profiler.schema import (
    DeviceTrace,
    Fleet,
    FleetDevice,
    InputError,
    Origin,
    Provenance,
    Trace,
    provenance,
)
from profiler.units import BYTES_PER_S_PER_MBIT

__all__ = ["TraceRequest", "generate_trace"]

MOST_ROWS = 1_000_000
NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRequest:
    """How devices shall change.

    Attributes
    ----------
    rows : int
        Rows of the trace: rounds, unless `interval_s` is given.
    interval_s : float or None
        Seconds that a row lasts; None for a trace by rounds.
    seed : int
    switch_probability : float
        Chance per row that a device changes its power mode.
    bandwidth_sigma : float
        Standard deviation of the logarithm of the bandwidth, in the long run; 0: constant.
    bandwidth_correlation : float
        Correlation of that logarithm between one row and the next, below 1.
    uplink_mbit_per_s, downlink_mbit_per_s : tuple of float
        Bounds; a device whose own speed lies outside them has them widened to hold it.
    outage_probability : float
        Chance per row that an available device drops out.
    outage_rows : float
        Rows that an outage lasts on average, 1 or more.
    fleet_path : Path or None
        File of the fleet, for the record.
    options : mapping of str to str
        Options the person gave, for the record.
    """

    rows: int = 100
    interval_s: float | None = None
    seed: int = 0
    switch_probability: float = 0.05
    bandwidth_sigma: float = 0.4
    bandwidth_correlation: float = 0.8
    uplink_mbit_per_s: tuple[float, float] = (1.0, 30.0)
    downlink_mbit_per_s: tuple[float, float] = (1.0, 90.0)
    outage_probability: float = 0.0
    outage_rows: float = 3.0
    fleet_path: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what makes no trace."""
        interval = 1.0 if self.interval_s is None else self.interval_s
        for holds, seen, expected in (
            (1 <= self.rows <= MOST_ROWS, f"rows is {self.rows}", f"1 to {MOST_ROWS}"),
            (0 < interval < math.inf, f"interval is {interval} s", "above 0, and finite"),
            (0 <= self.switch_probability <= 1, "switch probability", "0 to 1"),
            (0 <= self.outage_probability <= 1, "outage probability", "0 to 1"),
            (0 <= self.bandwidth_sigma <= 10, "bandwidth sigma", "0 to 10"),
            (0 <= self.bandwidth_correlation < 1, "correlation", "0 or more, below 1"),
            (1 <= self.outage_rows < math.inf, "outage rows", "1 or more"),
        ):
            if not holds:
                raise InputError(f"trace: {seen} is out of range; expected {expected}")


def generate_trace(fleet: Fleet, request: TraceRequest) -> Trace:
    """Draw a trace for a fleet; the same fleet and request give the same bytes."""
    modes = _modes(fleet)
    edges = [float(m) for m in range(request.rows + 1)]
    interval_s = request.interval_s
    return Trace(
        provenance=_provenance(request),
        edge_rounds=[round(m) for m in edges] if interval_s is None else [],
        edge_s=[] if interval_s is None else [m * interval_s for m in edges],
        devices=[
            _device_trace(device, modes[device.device_class], request)
            for device in fleet.devices
        ],
    )


def _provenance(request: TraceRequest) -> Provenance:
    return provenance(
        seed=request.seed,
        options=dict(request.options),
        inputs=[request.fleet_path] if request.fleet_path else [],
        origins={
            "device_class": Origin(
                kind="derived",
                source=f"Markov chain over the modes of a board; changes with probability "
                f"{request.switch_probability:g} a row; an assumption",
            ),
            "uplink_bytes_per_s": Origin(
                kind="derived",
                source=f"log-normal autoregression around the device's own speed, sigma "
                f"{request.bandwidth_sigma:g}, correlation "
                f"{request.bandwidth_correlation:g} a row; downlink alike; an assumption",
            ),
            "available": Origin(
                kind="derived",
                source=f"two-state Markov chain; outages begin with probability "
                f"{request.outage_probability:g} a row and last {request.outage_rows:g} rows "
                "on average; an assumption",
            ),
        },
    )


def _modes(fleet: Fleet) -> dict[str, list[str]]:
    """Classes of the same board, by class."""
    return {
        one.name: [c.name for c in fleet.classes if c.device.name == one.device.name]
        for one in fleet.classes
    }


def _device_trace(
    device: FleetDevice, modes: Sequence[str], request: TraceRequest
) -> DeviceTrace:
    # Text seeds are hashed by the standard library in the same way on every machine; one
    # generator a quantity, so that more switching does not alter the bandwidth.
    mode, band, outage = (
        random.Random(f"{request.seed}/{device.name}/{quantity}")
        for quantity in ("mode", "bandwidth", "outage")
    )
    factors = _factors(request, band)
    switches = request.switch_probability > 0 and len(modes) > 1
    return DeviceTrace(
        name=device.name,
        uplink_bytes_per_s=_speeds(
            device.uplink_bytes_per_s, factors, request.uplink_mbit_per_s
        ),
        downlink_bytes_per_s=_speeds(
            device.downlink_bytes_per_s, factors, request.downlink_mbit_per_s
        ),
        device_class=_switch(device.device_class, modes, request, mode) if switches else [],
        available=_outages(request, outage) if request.outage_probability > 0 else [],
    )


def _factors(request: TraceRequest, generator: random.Random) -> list[float]:
    """Speed over the device's own speed, by row; empty where it is constant."""
    if request.bandwidth_sigma == 0:
        return []
    correlation = request.bandwidth_correlation
    innovation = request.bandwidth_sigma * math.sqrt(1 - correlation**2)
    state, factors = 0.0, [1.0]
    for _ in range(request.rows - 1):
        state = correlation * state + innovation * NORMAL.inv_cdf(_open(generator))
        factors.append(math.exp(state))
    return factors


def _open(generator: random.Random) -> float:
    """A number above 0 and below 1."""
    return generator.random() or 0.5


def _speeds(
    own: float, factors: Sequence[float], bounds_mbit_per_s: tuple[float, float]
) -> list[float]:
    low, high = (bound * BYTES_PER_S_PER_MBIT for bound in bounds_mbit_per_s)
    low, high = min(low, own), max(high, own)
    moved = [float(min(max(round(own * factor), low), high)) for factor in factors[1:]]
    return [own, *moved] if factors else []


def _switch(
    start: str, modes: Sequence[str], request: TraceRequest, generator: random.Random
) -> list[str]:
    states = [start]
    for _ in range(request.rows - 1):
        state = states[-1]
        if generator.random() < request.switch_probability:
            others = [mode for mode in modes if mode != state]
            state = others[int(generator.random() * len(others))]
        states.append(state)
    return states


def _outages(request: TraceRequest, generator: random.Random) -> list[bool]:
    states = [True]
    for _ in range(request.rows - 1):
        leave = request.outage_probability if states[-1] else 1 / request.outage_rows
        states.append(states[-1] != (generator.random() < leave))
    return states
