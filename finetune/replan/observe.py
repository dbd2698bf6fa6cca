"""What the server knows of its devices: the fleet file, corrected by what it has seen.

Every device that is there says its class (its power mode) when it checks in; compute time and
bandwidth are measured of the devices asked. Measurements are smoothed by an exponential
moving average, ``s <- s + SMOOTHING (x - s)``, and written into a fleet: the class, the
bandwidths, and ``time_scale``, observed over profiled compute time. When a device changes its
class, its profile changes with it, and its time scale begins again at the fleet file's.
"""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from finetune.clock.charge import Charge, Tariff
from finetune.devices import Participant
from profiler.schema import Fleet, FleetDevice
from solver.plan import Plan

__all__ = ["SMOOTHING", "Observer", "drift"]

SMOOTHING = 0.5
"""Weight of a new measurement: half of what is believed is from the last one."""


class Observer:
    """Keeps a fleet up to date with what is seen of its devices.

    Parameters
    ----------
    fleet : Fleet
        As the fleet file says.
    believed : sequence of FleetDevice
        Devices as believed when the run was left; none to begin with the fleet file.
    """

    def __init__(self, fleet: Fleet, believed: Sequence[FleetDevice] = ()) -> None:
        self._origin = {device.name: device for device in fleet.devices}
        self.fleet = replace(fleet, devices=list(believed) or fleet.devices)

    def see(
        self,
        plan: Plan,
        present: Mapping[str, FleetDevice],
        measured: Sequence[tuple[Participant, Charge]],
    ) -> None:
        """Take a round in.

        Parameters
        ----------
        plan : Plan
            Under which it was played.
        present : mapping of str to FleetDevice
            The devices that were there; just their class is looked at.
        measured : sequence of pairs
            What each device asked took, its cache's first filling apart.
        """
        believed = {device.name: device for device in self.fleet.devices}
        for name, state in present.items():
            if believed[name].device_class != state.device_class:
                believed[name] = replace(
                    believed[name],
                    device_class=state.device_class,
                    time_scale=self._origin[name].time_scale,
                )
        tariff = Tariff(self.fleet, plan)
        for device, charge in measured:
            believed[device.owner] = _smoothed(tariff, device, believed[device.owner], charge)
        self.fleet = replace(self.fleet, devices=list(believed.values()))


def _smoothed(
    tariff: Tariff, device: Participant, believed: FleetDevice, seen: Charge
) -> FleetDevice:
    """Move a device towards a measurement; what was not measured (0 s) stays."""
    profiled_s = tariff.charge(device, replace(believed, time_scale=1.0)).compute_s
    changes = {}
    if seen.compute_s > 0 and profiled_s > 0:
        changes["time_scale"] = _move(believed.time_scale, seen.compute_s / profiled_s)
    links = (
        ("uplink_bytes_per_s", seen.upload_s, seen.upload_bytes),
        ("downlink_bytes_per_s", seen.download_s, seen.download_bytes),
    )
    for field, seconds, size in links:
        if seconds > 0 and size > 0:
            # Times are smoothed, hence seconds a byte.
            changes[field] = 1 / _move(1 / getattr(believed, field), seconds / size)
    return replace(believed, **changes)


def _move(smooth: float, new: float) -> float:
    return smooth + SMOOTHING * (new - smooth)


def drift(plan: Plan, devices: Sequence[Participant], fleet: Fleet) -> float:
    """How far devices are from their plan: mean of ``|smoothed / predicted - 1|``, of times.

    Parameters
    ----------
    plan : Plan
    devices : sequence of Participant
        Those that take part, with their predictions.
    fleet : Fleet
        As believed.
    """
    tariff = Tariff(fleet, plan)
    states = {device.name: device for device in fleet.devices}
    off = [
        abs(tariff.charge(d, states[d.owner]).time_s / d.predicted.time_s - 1)
        for d in devices
        if d.predicted.time_s > 0
    ]
    return sum(off) / len(off) if off else 0.0
