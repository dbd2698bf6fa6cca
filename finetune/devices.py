"""The devices of a plan one by one, and which of them are asked in a round."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from finetune.seeds import Stream, generator
from solver.plan import Cache, InputError, Plan, PredictedDevice

__all__ = ["Participant", "devices_of", "participants", "sample"]


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
    owner : str
        Its row in the plan and the fleet: its name without the number.
    cache : {"off", "round", "always"}
        What it does with the outputs of layers it does not adapt.
    """

    position: int
    name: str
    configuration: int
    local_steps: int
    predicted: PredictedDevice
    owner: str = ""
    cache: Cache = "off"


def devices_of(plan: Plan) -> list[tuple[str, int]]:
    """Name and planned examples of every device, also of those that do not take part."""
    return [
        (device.name if device.count == 1 else f"{device.name}#{copy}", device.examples)
        for device in plan.devices
        for copy in range(device.count)
    ]


def participants(plan: Plan) -> list[Participant]:
    """Devices that take part, in the order of the fleet.

    Raises
    ------
    InputError
        If none does, or two have the same name, as one that the fleet counts several times
        is numbered.
    """
    found, index = [], 0
    names = [name for name, _ in devices_of(plan)]
    if len(set(names)) < len(names):
        name = next(name for name, times in Counter(names).items() if times > 1)
        raise InputError(f"two devices are called '{name}'; rename one of them in the fleet")
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
                        device.name,
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
