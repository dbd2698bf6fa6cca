"""The clock that charges what was measured."""

from collections.abc import Mapping, Sequence

from finetune.clock.bill import Bill, sum_up
from finetune.clock.conditions import Moment
from finetune.clock.virtual import VirtualClock
from finetune.devices import Participant
from profiler.schema import FleetDevice

__all__ = ["RealClock"]


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
        return sum_up(times, charges, {}, self._deadline_s) if charges else bill
