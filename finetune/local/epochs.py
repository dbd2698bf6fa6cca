"""Local epochs in place of the plan's local steps, and what the clock then charges."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from finetune.devices import Participant
from solver.plan import InputError

__all__ = ["by_epochs"]


def by_epochs(
    devices: Sequence[Participant],
    held: Sequence[npt.NDArray[np.int64]],
    batch_size: int,
    epochs: int,
) -> list[Participant]:
    """Devices that pass over the examples they hold so many times a round.

    The plan predicts seconds for its own steps; the seconds of compute are charged in
    proportion. Its budgets and its certificate were for its own steps.

    Parameters
    ----------
    devices : sequence of Participant
    held : sequence of arrays, shape (N,)
        Indices of each device's examples, by its position in the fleet.
    batch_size : int
        Examples a step; of those that fill no batch a step more is made.
    epochs : int
        Passes a round.

    Raises
    ------
    InputError
        If a device fills a cache each round: its seconds are part of the compute, and do not
        grow with the steps.
    """
    return [
        _by_epochs(device, len(held[device.position]), batch_size, epochs) for device in devices
    ]


def _by_epochs(device: Participant, examples: int, batch_size: int, epochs: int) -> Participant:
    if device.cache == "round":
        raise InputError(
            f"--local-epochs: device '{device.name}' fills its cache each round, so the plan's "
            "seconds do not go with the steps; set --local-steps when you make the fleet"
        )
    steps = epochs * -(-examples // batch_size)
    planned = device.predicted
    compute_s = planned.compute_s * steps / device.local_steps
    predicted = replace(
        planned,
        compute_s=compute_s,
        time_s=planned.time_s - planned.compute_s + compute_s,
        energy_j=0.0,
    )
    return device._replace(local_steps=steps, predicted=predicted)
