"""A round's bill: what it takes, what each device is charged, and who is too late.

A round takes as long as its slowest device, or the busiest link that its devices share; with a
deadline, as long as that at most.
"""

from collections.abc import Mapping
from typing import NamedTuple

from finetune.clock.charge import Charge

__all__ = ["Bill", "RoundCost", "nobody", "sum_up"]


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


def sum_up(
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


def nobody(pause_s: float) -> Bill:
    """Bill of a round in which nobody could be asked, and the server waited."""
    return Bill(RoundCost(pause_s, 0.0, 0.0, 0.0), {}, {})
