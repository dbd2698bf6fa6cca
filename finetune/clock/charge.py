"""What a round costs one device: as the plan predicts it, or anew from a fleet's tables.

The formulas are those of `profiler.schema.StepTime` and of the fields of `solver.plan`; a
device of the fleet may meanwhile be in another class, or behind another bandwidth, than it
was planned for. Plain Python on purpose: it shares no code with the solver, so the two can be
held against each other (``tests/finetune/test_clock.py``).
"""

from typing import NamedTuple

from finetune.devices import Participant
from profiler.schema import DeviceClass, Fleet, FleetDevice, StepTime
from solver.plan import Plan

__all__ = ["Charge", "Tariff", "planned"]


class Charge(NamedTuple):
    """What a round takes a device.

    Parameters
    ----------
    time_s : float
        The whole round, without a cache's first filling.
    compute_s, upload_s, download_s : float
        Local steps, sending and receiving.
    upload_bytes, download_bytes : float
        Sent and received.
    build_s : float
        Filling a cache that is kept for the whole run, once.
    """

    time_s: float
    compute_s: float
    upload_s: float
    download_s: float
    upload_bytes: float
    download_bytes: float
    build_s: float


def planned(device: Participant) -> Charge:
    """Charge a device what its plan predicts."""
    told = device.predicted
    return Charge(
        time_s=told.time_s,
        compute_s=told.compute_s,
        upload_s=told.upload_s,
        download_s=told.download_s,
        upload_bytes=told.upload_bytes,
        download_bytes=told.download_bytes,
        build_s=told.cache_build_s,
    )


class Tariff:
    """Charges devices by a fleet's tables.

    Parameters
    ----------
    fleet : Fleet
        Class tables.
    plan : Plan
        Configurations; what they send and receive is in its predictions.
    """

    def __init__(self, fleet: Fleet, plan: Plan) -> None:
        self._classes: dict[str, DeviceClass] = {c.name: c for c in fleet.classes}
        self._plan = plan

    def charge(self, device: Participant, state: FleetDevice) -> Charge:
        """Charge a device in the state that the fleet, or a trace of it, says.

        Parameters
        ----------
        device : Participant
            Configuration, cache and local steps, as planned.
        state : FleetDevice
            Class, bandwidths, latency and time scale, as they are.
        """
        ranks = self._plan.configurations[device.configuration].ranks
        compute_s, build_s = self._compute(device, state, ranks)
        # What travels depends on the configuration and the codec, not on conditions.
        upload_bytes = device.predicted.upload_bytes
        download_bytes = device.predicted.download_bytes
        upload_s = upload_bytes / state.uplink_bytes_per_s
        download_s = download_bytes / state.downlink_bytes_per_s
        return Charge(
            time_s=compute_s + upload_s + download_s + state.latency_s,
            compute_s=compute_s,
            upload_s=upload_s,
            download_s=download_s,
            upload_bytes=upload_bytes,
            download_bytes=download_bytes,
            build_s=build_s,
        )

    def _compute(
        self, device: Participant, state: FleetDevice, ranks: list[int]
    ) -> tuple[float, float]:
        """Seconds of the local steps, and of filling a cache that is kept."""
        time = self._classes[state.device_class].time
        batch, steps = self._plan.training.batch_size, device.local_steps
        step_s, prefix_s = step_time_s(time, ranks), prefix_time_s(time, ranks)
        # An example met twice in a round is cached the first time.
        distinct = min(state.examples, steps * batch)
        spent_s = {
            "off": steps * step_s,
            "round": steps * (step_s - prefix_s) + distinct / batch * prefix_s,
            "always": steps * (step_s - prefix_s),
        }[device.cache]
        build_s = state.examples / batch * prefix_s if device.cache == "always" else 0.0
        return state.time_scale * spent_s, state.time_scale * build_s


def step_time_s(time: StepTime, ranks: list[int]) -> float:
    """Seconds of a training step; `ranks` by layer, input first, 0 below the depth."""
    bare_s = time.embedding_s + sum(time.forward_s) + time.head_s
    adapted = zip(time.backward_s, time.lora_s_per_rank, ranks, strict=True)
    return bare_s + sum(back_s + slope_s * rank for back_s, slope_s, rank in adapted if rank)


def prefix_time_s(time: StepTime, ranks: list[int]) -> float:
    """Seconds of a step's part below the first adapted layer, which a cache saves."""
    bare = len(ranks) - sum(rank > 0 for rank in ranks)
    return time.embedding_s + sum(time.forward_s[:bare])
