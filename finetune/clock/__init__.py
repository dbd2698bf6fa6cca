"""The clock of a run: what a round takes, who is there, and who is too late.

- `VirtualClock` charges what the plan predicts or, given the fleet, what its cost tables say
  of each device as it is in that round (`finetune.clock.charge`, `finetune.clock.conditions`).
- `RealClock` charges the wall seconds that each device's turn took on this machine. Devices of
  the in-process engine take turns, so the run itself lasts the sum of what is charged; nothing
  is sent, so nothing is charged for the network.
"""

from finetune.clock.protocol import Caches, Clock
from finetune.clock.real import RealClock
from finetune.clock.virtual import VirtualClock
from finetune.options import RunOptions
from profiler.schema import Fleet, Trace
from solver.plan import Plan

__all__ = ["clock_for"]


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
