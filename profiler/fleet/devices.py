"""The devices of a preset, drawn by chance: bandwidth, latency, examples, memory.

Storage is the same for all, unless the request says how much.
"""

import random
from collections.abc import Sequence

from profiler.hardware import Hardware
from profiler.schema import FleetDevice
from profiler.units import BYTES_PER_S_PER_MBIT

__all__ = ["DOWNLINK_RATIO", "STORAGE_BYTES", "UPLINK_MBIT_PER_S", "draw_devices"]

UPLINK_MBIT_PER_S = (1.0, 30.0)
DOWNLINK_RATIO = (1.0, 3.0)
LATENCY_S = (0.02, 0.2)
EXAMPLES = (160, 1600)
# The rest of a device's memory is taken by its system and other programs.
MEMORY_FRACTION = (0.3, 0.8)
# For cached layer outputs: a quarter of the 16 GB eMMC of the board that has least in
# paper-80 (NVIDIA Jetson Xavier NX data sheet; TX2 and AGX Xavier have 32 GB). The quarter is
# an assumption.
STORAGE_BYTES = 4_000_000_000


def draw_devices(
    hardware: Sequence[Hardware],
    counts: Sequence[int],
    seed: int,
    local_steps: int,
    storage_bytes: int = STORAGE_BYTES,
) -> list[FleetDevice]:
    """Draw so many devices of each kind of hardware; a seed gives the same ones."""
    # The standard library's generator gives the same numbers on every machine and version.
    generator = random.Random(seed)
    return [
        _device(device, number, local_steps, storage_bytes, generator)
        for device, count in zip(hardware, counts, strict=True)
        for number in range(1, count + 1)
    ]


def _device(
    hardware: Hardware,
    number: int,
    local_steps: int,
    storage_bytes: int,
    generator: random.Random,
) -> FleetDevice:
    uplink = _log_uniform(generator, *UPLINK_MBIT_PER_S) * BYTES_PER_S_PER_MBIT
    ratio = _uniform(generator, *DOWNLINK_RATIO)
    latency = _uniform(generator, *LATENCY_S)
    examples = _log_uniform(generator, *EXAMPLES)
    share = _uniform(generator, *MEMORY_FRACTION)
    return FleetDevice(
        name=f"{hardware.id}-{hardware.mode}-{number:02d}",
        device_class=hardware.label,
        uplink_bytes_per_s=float(round(uplink)),
        downlink_bytes_per_s=float(round(uplink * ratio)),
        latency_s=round(latency, 3),
        examples=round(examples),
        local_steps=local_steps,
        memory_bytes=round(hardware.memory_bytes * share),
        storage_bytes=storage_bytes,
    )


def _uniform(generator: random.Random, low: float, high: float) -> float:
    return low + (high - low) * generator.random()


def _log_uniform(generator: random.Random, low: float, high: float) -> float:
    return low * float((high / low) ** generator.random())
