"""The devices of a plan one by one: which are asked in a round, and what it costs them."""

from collections.abc import Sequence, Set
from typing import NamedTuple

from finetune.seeds import Stream, generator
from solver.plan import Cache, InputError, Plan, PredictedDevice

__all__ = [
    "Participant",
    "RoundCost",
    "devices_of",
    "newcomers",
    "participants",
    "round_cost",
    "sample",
]


class Participant(NamedTuple):
    """A device that takes part.

    Parameters
    ----------
    position : int
        Position in the fleet, with counts written out; the same whatever the policy.
    name : str
        Its name, with a number where the fleet counts several alike.
    configuration : int
        Index of its adapter shape in the plan.
    local_steps : int
        Training steps a round.
    predicted : PredictedDevice
        What the plan charges it for a round.
    cache : {"off", "round", "always"}
        What it does with the outputs of layers it does not adapt.
    """

    position: int
    name: str
    configuration: int
    local_steps: int
    predicted: PredictedDevice
    cache: Cache = "off"


class RoundCost(NamedTuple):
    """What a round takes on the virtual clock and the network."""

    time_s: float
    mean_wait_s: float
    upload_bytes: float
    download_bytes: float


def devices_of(plan: Plan) -> list[tuple[str, int]]:
    """Name and planned examples of every device, also of those that do not take part."""
    return [
        (device.name if device.count == 1 else f"{device.name}#{copy}", device.examples)
        for device in plan.devices
        for copy in range(device.count)
    ]


def participants(plan: Plan) -> list[Participant]:
    """Devices that take part, in the order of the fleet; raises `InputError` if none does."""
    found, index = [], 0
    names = [name for name, _ in devices_of(plan)]
    for device in plan.devices:
        for _ in range(device.count):
            if device.configuration is not None and device.predicted is not None:
                found.append(
                    Participant(
                        index,
                        names[index],
                        device.configuration,
                        device.local_steps,
                        device.predicted,
                        device.cache,
                    )
                )
            index += 1
    if not found:
        raise InputError("no device of the plan takes part; solve again with looser budgets")
    return found


def sample(
    candidates: Sequence[Participant], count: int, seed: int, round_index: int
) -> list[Participant]:
    """Draw `count` devices without replacement, anew each round, in the fleet's order."""
    rng = generator(seed, Stream.SAMPLE, round_index)
    chosen = rng.permutation(len(candidates))[:count]
    return [candidates[i] for i in sorted(chosen)]


def newcomers(
    candidates: Sequence[Participant], count: int, seed: int, round_index: int
) -> set[str]:
    """Names of the devices that `sample` asks in this round for the first time."""
    before = {
        device.name
        for earlier in range(round_index)
        for device in sample(candidates, count, seed, earlier)
    }
    return {p.name for p in sample(candidates, count, seed, round_index)} - before


def round_cost(asked: Sequence[Participant], building: Set[str] = frozenset()) -> RoundCost:
    """Cost of a round: the slowest device's time, and what waiting for it means.

    Devices in `building` are in their first round: those that keep a cache for the whole run
    fill it then.
    """
    own_s = [
        p.predicted.time_s + (p.predicted.cache_build_s if p.name in building else 0.0)
        for p in asked
    ]
    time_s = max(own_s)
    return RoundCost(
        time_s=time_s,
        mean_wait_s=sum(time_s - own for own in own_s) / len(asked),
        upload_bytes=sum(p.predicted.upload_bytes for p in asked),
        download_bytes=sum(p.predicted.download_bytes for p in asked),
    )
