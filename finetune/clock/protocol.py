"""What server and rehearsal ask of a clock."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from finetune.clock.bill import Bill
from finetune.clock.conditions import Moment
from finetune.devices import Participant, sample
from finetune.options import RunOptions
from profiler.schema import FleetDevice

__all__ = ["Caches", "Clock", "ask"]

Caches = dict[str, int]
"""Depth that a device's kept cache was last filled for, by the device's name."""


class Clock(Protocol):
    """Says what rounds take."""

    caches: Caches

    def present(self, when: Moment) -> Mapping[str, FleetDevice] | None:
        """Devices of the fleet that can be asked, as they are; None: all, as planned."""

    def bill(self, asked: Sequence[Participant], when: Moment) -> Bill:
        """Bill a round before it is played; whoever is late already need not train."""

    def settle(self, bill: Bill, seconds: Mapping[str, float]) -> Bill:
        """Bill it again once the seconds of each device's turn are known."""


def ask(
    devices: Sequence[Participant], clock: Clock, when: Moment, options: RunOptions
) -> list[Participant]:
    """Sample a round's devices among those that are there."""
    there = clock.present(when)
    candidates = [d for d in devices if there is None or d.owner in there]
    return sample(candidates, options.sample, options.seed, when.round_index)
