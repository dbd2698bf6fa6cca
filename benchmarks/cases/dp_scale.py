"""Planning time and memory from a thousand devices to ten million."""

import time
from typing import Any

from benchmarks.child import in_child, peak_rss_bytes, restart_peak, rss_bytes
from benchmarks.fits import exponents, fitted_sizes
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure

SIZES = (10**3, 10**4, 10**5, 10**6, 10**7)
QUICK_SIZES = (10**3, 10**5)
MODEL = "llama-2-7b"
RANKS = range(1, 66)
ROOM = 1.5
# By number of devices: seconds, and megabytes.
TARGET_S, TARGET_MB, TARGET_GAP = {10**6: 2.0, 10**7: 10.0}, {10**6: 200.0}, 1e-9

PROTOCOL = """
N devices of two server classes of the catalogue train Llama-2-7B (32 layers, costs by closed
form), ranks 1 to 65 shared, utility maximised under a round time (1.5 times the least
feasible), memory and upload of every device. Bandwidth, latency, examples, memory and speed of
each device are drawn by the seed. Devices come as arrays. Every size and seed has a fresh
process; sizes alternate within a seed. Seconds run from the arrays to the proven plan (costs
and solve). Memory is the peak of the resident set during that, above what it was before with
the arrays in place. An exponent x says that a quantity grows as the number of devices to the x;
it is the slope of its logarithm, fitted for every seed from 100,000 devices up (in the quick
form over all sizes).
"""


def measure(job: Job) -> list[Figure]:
    """Plan for every size and seed."""
    sizes = QUICK_SIZES if job.quick else SIZES
    found: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
    for seed in range(job.seeds):
        for size in sizes:
            job.say(f"seed {seed}: {size} devices")
            found[size].append(in_child(plan, {"devices": size, "seed": seed}))
    return [
        *(one for size in sizes for one in _figures(size, found[size])),
        _growth("planning time", "seconds", found),
        _growth("peak memory", "bytes", found),
    ]


def _growth(name: str, unit: str, found: dict[int, list[dict[str, float]]]) -> Figure:
    """Exponents of a power law of the number of devices, one a seed."""
    sizes = fitted_sizes(list(found))
    values = exponents(sizes, [[run[unit] for run in found[int(s)]] for s in sizes])
    setting = f"x in {unit} ~ devices^x, {sizes[0]:,.0f} to {sizes[-1]:,.0f} devices"
    return figure(f"exponent of {name}", values, "1", setting=setting)


def _figures(size: int, runs: list[dict[str, float]]) -> list[Figure]:
    setting = f"{size:.0e} devices x 32 layers x 65 ranks".replace("e+0", "e")
    return [
        figure(
            "planning time", [run["seconds"] for run in runs], "s",
            setting=setting, target=TARGET_S.get(size),
        ),
        figure(
            "peak memory above input", [run["bytes"] / 1e6 for run in runs], "MB",
            setting=setting, target=TARGET_MB.get(size),
        ),
        figure(
            "gap to the bound", [run["gap_fraction"] for run in runs], "1",
            setting=setting, target=TARGET_GAP, judged="worst",
        ),
    ]  # fmt: skip


def plan(devices: int, seed: int, model: str = MODEL) -> dict[str, float]:
    """Pose and solve one problem; runs in a process of its own."""
    from solver.exact import maximise_utility
    from solver.outcome import relative_gap
    from solver.problem import Problem

    fleet, rows, round_time_s = instance(devices, seed, model)
    # Half of what all layers at the highest rank would take.
    all_layers = max(RANKS) * sum(fleet.lora.parameters_per_rank)
    upload_bytes = all_layers * fleet.lora.bytes_per_parameter / 2
    # Loads what is loaded lazily, on a few devices, so that it does not count.
    maximise_utility(Problem.of(fleet, ranks=RANKS, devices=rows[:1]))
    before = rss_bytes()
    restart_peak()
    began = time.perf_counter()
    problem = Problem.of(
        fleet, ranks=RANKS, round_time_s=round_time_s, upload_bytes=upload_bytes, devices=rows
    )  # fmt: skip
    outcome = maximise_utility(problem)
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "bytes": float(peak_rss_bytes() - before),
        "gap_fraction": relative_gap(outcome.value, outcome.bound or 0.0, "utility"),
        "utility": outcome.value,
    }


def instance(devices: int, seed: int, model: str = MODEL) -> tuple[Any, Any, float]:
    """Fleet with its classes, devices as arrays, and a round time in seconds."""
    import numpy as np

    from profiler.derive import derive_profile
    from profiler.schema import DeviceClass, Fleet, FleetDevice, Training
    from solver.costs.devices import Devices
    from solver.least import least_round_time_s
    from solver.problem import Problem

    boards = ("a100", "h100")
    training = Training(batch_size=8, sequence_length=256, dtype="bfloat16")
    profiles = [derive_profile(model, board, None, training) for board in boards]
    first = profiles[0]
    fleet = Fleet(
        provenance=first.provenance,
        model=first.model,
        training=first.training,
        lora=first.lora,
        gain=first.gain,
        classes=[
            DeviceClass(name=board, device=p.device, time=p.time, memory=p.memory)
            for board, p in zip(boards, profiles, strict=True)
        ],
        devices=[
            FleetDevice(
                name="one", device_class=boards[0], uplink_bytes_per_s=1, downlink_bytes_per_s=1
            )
        ],
    )
    rng = np.random.default_rng(seed)
    least, most = (max(ends) for ends in zip(*map(_memory_range, profiles), strict=True))
    uplink = 10 ** rng.uniform(6, 8, devices)
    rows = Devices(
        names=["device"] * devices,
        class_index=rng.integers(0, len(boards), devices),
        count=np.ones(devices, dtype=np.int64),
        uplink_bytes_per_s=uplink,
        downlink_bytes_per_s=uplink * rng.uniform(1, 3, devices),
        latency_s=rng.uniform(0.02, 0.2, devices),
        examples=rng.integers(100, 1000, devices),
        local_steps=rng.integers(5, 20, devices),
        memory_bytes=rng.uniform(least, most, devices),
        storage_bytes=np.zeros(devices),
        time_scale=rng.uniform(0.7, 2.0, devices),
    )
    least_s = least_round_time_s(Problem.of(fleet, ranks=RANKS, devices=rows))
    assert least_s is not None
    return fleet, rows, ROOM * least_s


def _memory_range(profile: Any) -> tuple[float, float]:
    """Bytes at one layer of rank 1, and at all layers of rank 64."""
    memory = profile.memory
    fixed = memory.weights_bytes + memory.framework_bytes
    phases = (memory.forward_bytes, memory.backward_bytes, memory.optimizer_bytes)
    least = max(p.by_depth[1] + p.per_rank[-1] for p in phases)
    most = max(p.by_depth[-1] + 64 * sum(p.per_rank) for p in phases)
    return fixed + least, fixed + most


CASE = Case(
    name="dp-scale",
    summary="How do planning time and memory grow with the number of devices?",
    protocol=PROTOCOL,
    seeds=3,
    quick_seeds=2,
    measure=measure,
)
