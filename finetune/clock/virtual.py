"""The clock that charges what is predicted."""

from collections.abc import Mapping, Sequence

from finetune.clock.bill import Bill, nobody, sum_up
from finetune.clock.charge import Charge, Tariff, planned
from finetune.clock.conditions import Conditions, Moment, check_plan
from finetune.clock.links import Links
from finetune.clock.protocol import Caches
from finetune.devices import Participant
from profiler.schema import Fleet, FleetDevice, Trace
from solver.plan import InputError, Plan

__all__ = ["VirtualClock"]


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
        self._links = Links(fleet) if fleet else None
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
            return nobody(self._pause_s(when))
        charges = self._charges(asked, when)
        times = {d.name: charges[d.name].time_s + self._build_s(d, charges) for d in asked}
        busy = self._links.busy_s(asked, charges) if self._links else {}
        return sum_up(times, charges, busy, self._deadline_s)

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
