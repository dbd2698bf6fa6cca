"""The clock of a run: what a round takes, who is there, and who is too late.

- `VirtualClock` charges what the plan predicts or, given the fleet, what its cost tables say
  of each device as it is in that round (`finetune.charge`, `finetune.conditions`).
- `RealClock` charges the wall seconds that each device's turn took on this machine. Devices of
  the in-process engine take turns, so the run itself lasts the sum of what is charged; nothing
  is sent, so nothing is charged for the network.

A round takes as long as its slowest device, or the busiest link that its devices share (the
sum of their bytes over its capacity, both ways); with a deadline, as long as that at most.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from finetune.charge import Charge, Tariff, planned
from finetune.conditions import Conditions, Moment, check_plan
from finetune.devices import Participant, sample
from finetune.options import RunOptions
from profiler.schema import Fleet, FleetDevice, Link, Trace
from solver.plan import InputError, Plan

__all__ = [
    "Bill",
    "Caches",
    "Clock",
    "RealClock",
    "RoundCost",
    "VirtualClock",
    "ask",
    "clock_for",
]

Caches = dict[str, int]
"""Depth that a device's kept cache was last filled for, by the device's name."""


class RoundCost(NamedTuple):
    """What a round takes on the clock and the network."""

    time_s: float
    mean_wait_s: float
    upload_bytes: float
    download_bytes: float


class Bill(NamedTuple):
    """A round's cost and whose it is.

    Parameters
    ----------
    cost : RoundCost
        Late devices have downloaded, but not uploaded.
    charges : mapping of str to Charge
        By the name of the device asked.
    late : mapping of str to str
        Why a device is left out, by its name.
    """

    cost: RoundCost
    charges: Mapping[str, Charge]
    late: Mapping[str, str]


def ask(
    devices: Sequence[Participant], clock: "Clock", when: Moment, options: RunOptions
) -> list[Participant]:
    """Sample a round's devices among those that are there."""
    there = clock.present(when)
    candidates = [d for d in devices if there is None or d.owner in there]
    return sample(candidates, options.sample, options.seed, when.round_index)


class Clock(Protocol):
    """Says what rounds take."""

    caches: Caches

    def present(self, when: Moment) -> Mapping[str, FleetDevice] | None:
        """Devices of the fleet that can be asked, as they are; None: all, as planned."""

    def bill(self, asked: Sequence[Participant], when: Moment) -> Bill:
        """Bill a round before it is played; whoever is late already need not train."""

    def settle(self, bill: Bill, seconds: Mapping[str, float]) -> Bill:
        """Bill it again once the seconds of each device's turn are known."""


class VirtualClock:
    """Charges predictions.

    Parameters
    ----------
    plan : Plan
    fleet : Fleet, optional
        Cost tables and links; without it, the plan's own predictions are charged.
    trace : Trace, optional
        How the devices of `fleet` change.
    deadline_s : float, optional
        Longest round.
    caches : Caches, optional
        Caches filled before; kept up to date here.

    Raises
    ------
    InputError
        If plan, fleet and trace do not fit each other.
    """

    def __init__(
        self,
        plan: Plan,
        fleet: Fleet | None = None,
        trace: Trace | None = None,
        deadline_s: float | None = None,
        caches: Caches | None = None,
    ) -> None:
        self.caches: Caches = {} if caches is None else caches
        self._depths = [configuration.depth for configuration in plan.configurations]
        self._deadline_s = deadline_s
        self._links = _Links(fleet) if fleet else None
        self._conditions = Conditions(fleet, trace) if fleet else None
        self._tariff = Tariff(fleet, plan) if fleet else None
        if fleet:
            check_plan(fleet, plan)
        elif plan.links:
            raise InputError(
                f"the plan's devices share link '{plan.links[0].name}', whose capacity only "
                "the fleet says; add --fleet"
            )

    def present(self, when: Moment) -> Mapping[str, FleetDevice] | None:
        """See `Clock`."""
        return self._conditions.at(when) if self._conditions else None

    def bill(self, asked: Sequence[Participant], when: Moment) -> Bill:
        """See `Clock`."""
        if not asked:
            return _nobody(self._pause_s(when))
        charges = self._charges(asked, when)
        times = {d.name: charges[d.name].time_s + self._build_s(d, charges) for d in asked}
        busy = self._links.busy_s(asked, charges) if self._links else {}
        return _bill(times, charges, busy, self._deadline_s)

    def settle(self, bill: Bill, seconds: Mapping[str, float]) -> Bill:
        """Keep the bill: what was predicted is charged."""
        return bill

    def _charges(self, asked: Sequence[Participant], when: Moment) -> dict[str, Charge]:
        states = self.present(when)
        if self._tariff is None or states is None:
            return {device.name: planned(device) for device in asked}
        return {d.name: self._tariff.charge(d, states[d.owner]) for d in asked}

    def _build_s(self, device: Participant, charges: Mapping[str, Charge]) -> float:
        """Seconds of filling a kept cache: at first, and when the depth has changed."""
        if device.cache != "always":
            self.caches.pop(device.name, None)
            return 0.0
        depth = self._depths[device.configuration]
        filled = self.caches.get(device.name) == depth
        self.caches[device.name] = depth
        return 0.0 if filled else charges[device.name].build_s

    def _pause_s(self, when: Moment) -> float:
        """How long the server waits where nobody can be asked."""
        if self._deadline_s is not None:
            return self._deadline_s
        return self._conditions.next_s(when) if self._conditions else 0.0


class RealClock:
    """Charges measured seconds.

    Parameters
    ----------
    virtual : VirtualClock
        Says who is there, and the bytes.
    deadline_s : float, optional
        Longest round; who takes longer is left out once its turn is over.
    """

    def __init__(self, virtual: VirtualClock, deadline_s: float | None = None) -> None:
        self.caches = virtual.caches
        self._virtual = virtual
        self._deadline_s = deadline_s

    def present(self, when: Moment) -> Mapping[str, FleetDevice] | None:
        """See `Clock`."""
        return self._virtual.present(when)

    def bill(self, asked: Sequence[Participant], when: Moment) -> Bill:
        """Foresee nothing but the bytes: nobody is late yet."""
        return self._virtual.bill(asked, when)._replace(late={})

    def settle(self, bill: Bill, seconds: Mapping[str, float]) -> Bill:
        """Charge the turns of the devices that answered; the others' took no time."""
        times = {name: seconds.get(name, 0.0) for name in bill.charges}
        charges = {
            name: charge._replace(
                time_s=times[name], compute_s=times[name], upload_s=0.0, download_s=0.0
            )
            for name, charge in bill.charges.items()
        }
        return _bill(times, charges, {}, self._deadline_s) if charges else bill


def clock_for(
    plan: Plan,
    fleet: Fleet | None,
    trace: Trace | None,
    options: RunOptions,
    caches: Caches | None = None,
) -> Clock:
    """Make the clock that the options name; raises `InputError` if they do not fit."""
    if options.clock == "virtual":
        return VirtualClock(plan, fleet, trace, options.deadline_s, caches)
    return RealClock(VirtualClock(plan, fleet, trace, None, caches), options.deadline_s)


class _Links:
    """Links that devices share, each with the links above it."""

    def __init__(self, fleet: Fleet) -> None:
        self._links = {link.name: link for link in fleet.links}
        self._ways = {device.name: self._way(device.link) for device in fleet.devices}

    def busy_s(
        self, asked: Sequence[Participant], charges: Mapping[str, Charge]
    ) -> dict[str, float]:
        """Seconds that the busiest link on a device's way is busy, by device."""
        busy = dict.fromkeys(self._links, 0.0)
        for device in asked:
            charge = charges[device.name]
            for link in self._ways[device.owner]:
                busy[link.name] += charge.upload_bytes / link.uplink_bytes_per_s
                busy[link.name] += charge.download_bytes / link.downlink_bytes_per_s
        return {
            device.name: max(
                (busy[link.name] for link in self._ways[device.owner]), default=0.0
            )
            for device in asked
        }

    def _way(self, name: str) -> list[Link]:
        """Links from the one of this name to the server."""
        way = []
        while name:
            way.append(self._links[name])
            name = way[-1].parent
        return way


def _bill(
    times: Mapping[str, float],
    charges: Mapping[str, Charge],
    busy: Mapping[str, float],
    deadline_s: float | None,
) -> Bill:
    """Sum a round up; whoever is not done by the deadline is late.

    All devices behind a link are done when it has passed all of their bytes.
    """
    done = {name: max(time_s, busy.get(name, 0.0)) for name, time_s in times.items()}
    late = {
        name: f"late: needs {done_s:.4g} s, the deadline is {deadline_s:.4g} s"
        for name, done_s in done.items()
        if deadline_s is not None and done_s > deadline_s
    }
    time_s = max(done.values())
    time_s = time_s if deadline_s is None else min(time_s, deadline_s)
    waits = [max(time_s - own_s, 0.0) for own_s in times.values()]
    return Bill(
        cost=RoundCost(
            time_s=time_s,
            mean_wait_s=sum(waits) / len(waits),
            upload_bytes=sum(c.upload_bytes for name, c in charges.items() if name not in late),
            download_bytes=sum(c.download_bytes for c in charges.values()),
        ),
        charges=charges,
        late=late,
    )


def _nobody(pause_s: float) -> Bill:
    return Bill(RoundCost(pause_s, 0.0, 0.0, 0.0), {}, {})
