"""Links that devices share."""

from collections.abc import Mapping, Sequence

from finetune.clock.charge import Charge
from finetune.devices import Participant
from profiler.schema import Fleet, Link

__all__ = ["Links"]


class Links:
    """The links of a fleet, each with those above it.

    A link is busy for the sum of its devices' bytes over its capacity, both ways.
    """

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
