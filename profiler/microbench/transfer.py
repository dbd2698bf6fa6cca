"""The profile of a device from the profile of another, by a micro-benchmark on both.

Every part of a step (forward pass, backward pass, a rank ...) is a mix of products, copies,
functions and random numbers, which is known by closed form. Two devices compare differently
at each of them: two threads halve a product and leave random numbers as they were. So each
part of the measured time is scaled by the ratio of what the two benchmarks say it takes:

    time there = time here * (closed form at rates there) / (closed form at rates here)

What the closed form leaves out (overhead, cache misses) is in the measured time, and scales
with the rest. Memory does not depend on speed and carries over.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from profiler.closed_form.architectures import read_architecture
from profiler.closed_form.simulate import Setting
from profiler.configs import naming
from profiler.derive import profiled_config
from profiler.microbench.file import Backend, Benchmark, read_benchmark
from profiler.microbench.rates import PARTS, Rates, part_times
from profiler.schema import (
    InputError,
    Origin,
    Profile,
    StepTime,
    provenance,
    read_profile,
)

__all__ = ["TRANSFER_FRACTION", "Transfer", "transfer_files", "transfer_profile"]

# How far transferred step times lay from measured ones (thread counts and CPU quotas,
# docs/devices.md), one sigma, without the drift of the devices between measurements.
TRANSFER_FRACTION = 0.04
# A ratio is surer, the more alike the kinds of kernels compare.
DISPERSION_SHARE = 0.25
# A benchmark on a machine busier than this deserves a word.
BUSY_FRACTION = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A transferred profile and how it came about.

    Attributes
    ----------
    profile : Profile
        Of the other device.
    backend : {'numpy', 'torch'}
        The kernels compared.
    ratios : dict of str to float
        Time there over time here, by part of the step; ``step`` for a whole one.
    notes : list of str
        What a person should know.
    """

    profile: Profile
    backend: Backend
    ratios: dict[str, float]
    notes: list[str]


def transfer_files(profile: Path, here: Path, there: Path, model: str = "") -> Transfer:
    """Transfer a profile, from files; see `transfer_profile`."""
    made = transfer_profile(
        read_profile(profile), read_benchmark(here), read_benchmark(there), model
    )
    record = replace(
        provenance(
            options=made.profile.provenance.options,
            inputs=[profile, here, there],
            origins=made.profile.provenance.origins,
        ),
        seed=made.profile.provenance.seed,
    )
    return Transfer(
        profile=replace(made.profile, provenance=record),
        backend=made.backend,
        ratios=made.ratios,
        notes=made.notes,
    )


def transfer_profile(
    profile: Profile, here: Benchmark, there: Benchmark, model: str = ""
) -> Transfer:
    """Say what a profile measured here would be on another device.

    Parameters
    ----------
    profile : Profile
        Measured on the device of `here`.
    here, there : Benchmark
        Micro-benchmarks of both devices. Kernels of torch are compared where both have
        them, kernels of numpy otherwise.
    model : str
        Folder or preset with the model's config; by default a preset with the same config,
        or common proportions.

    Raises
    ------
    InputError
        If the profile is of another device than the first benchmark, or `model` is not the
        profile's model.
    """
    _check(profile, here, there)
    setting, origin = _setting(profile, model)
    backend: Backend = "torch" if _both_have_torch(here, there) else "numpy"
    parts_here = part_times(setting, Rates(here, backend))
    parts_there = part_times(setting, Rates(there, backend))
    ratios = _ratios(parts_here, parts_there, profile.model.layers)
    time = _scaled(profile.time, ratios)
    error = _error_fraction(profile.time, here, there, ratios)
    made = replace(
        profile,
        device=replace(there.device, radio_j_per_byte=profile.device.radio_j_per_byte),
        time=replace(time, error_fraction=error),
        provenance=provenance(
            seed=profile.provenance.seed,
            options=_options(ratios, backend),
            origins={**profile.provenance.origins, **_origins(profile, backend, origin)},
        ),
    )
    return Transfer(
        profile=made, backend=backend, ratios=ratios, notes=_notes(profile, here, there, origin)
    )


def _check(profile: Profile, here: Benchmark, there: Benchmark) -> None:
    if profile.training.base_dtype != "same":
        raise InputError(
            f"the profile has a base in {profile.training.base_dtype}, which benchmarks do not "
            "time; derive it for that device: --derive"
        )
    if profile.training.dtype != "float32":
        raise InputError(
            f"the profile computes in {profile.training.dtype}; benchmarks time float32, so "
            "transfer a float32 profile or measure there"
        )
    for benchmark in (here, there):
        if benchmark.device.processor != profile.device.processor:
            raise InputError(
                f"the profile is of a {profile.device.processor}, the benchmark of "
                f"'{benchmark.device.name}' of a {benchmark.device.processor}; a transfer "
                "keeps the kind of processor: try --derive"
            )
    if profile.device.threads != here.device.threads:
        raise InputError(
            f"the profile was measured with {profile.device.threads} threads, the benchmark "
            f"here with {here.device.threads}; make it again with --benchmark --threads "
            f"{profile.device.threads}"
        )


def _both_have_torch(here: Benchmark, there: Benchmark) -> bool:
    return "torch" in here.backends and "torch" in there.backends


def _setting(profile: Profile, model: str) -> tuple[Setting, str]:
    """What to record, and where its config came from."""
    config, origin = profiled_config(profile, model)
    with naming(model):
        architecture = read_architecture(config)
    known = {module.name for module in architecture.linears}
    names = tuple(t.name for t in profile.model.targets if t.name in known)
    training = profile.training
    if not architecture.has_sdpa:
        training = replace(training, attention="eager")
    return (
        Setting(
            architecture=architecture,
            training=training,
            adapted=names or architecture.adapted,
            fused=profile.device.processor == "cuda",
        ),
        origin,
    )


def _ratios(
    here: Mapping[str, float], there: Mapping[str, float], layers: int
) -> dict[str, float]:
    """Time there over time here of every part, and of a step that adapts all layers."""
    step = _step_s(there, layers) / _step_s(here, layers)
    # A difference of recorded steps may vanish; then the whole step speaks for it.
    ratios = {
        part: there[part] / here[part] if here[part] > 0 and there[part] > 0 else step
        for part in PARTS
    }
    return {**ratios, "step": step}


def _step_s(parts: Mapping[str, float], layers: int) -> float:
    once = parts["embedding"] + parts["head"] + parts["backward_top"]
    return once + layers * parts["forward"] + (layers - 1) * parts["backward"]


def _scaled(time: StepTime, ratio: Mapping[str, float]) -> StepTime:
    below = [s * ratio["backward"] for s in time.backward_s[:-1]]
    return StepTime(
        embedding_s=time.embedding_s * ratio["embedding"],
        forward_s=[s * ratio["forward"] for s in time.forward_s],
        head_s=time.head_s * ratio["head"],
        backward_s=[*below, time.backward_s[-1] * ratio["backward_top"]],
        lora_s_per_rank=[s * ratio["lora"] for s in time.lora_s_per_rank],
    )


def _error_fraction(
    time: StepTime, here: Benchmark, there: Benchmark, ratios: Mapping[str, float]
) -> float:
    """Uncertainty of the profile, of both benchmarks, and of the transfer itself."""
    spreads = [
        float(np.median([k.spread_fraction for k in benchmark.kernels]))
        for benchmark in (here, there)
    ]
    dispersion = float(np.std([math.log(ratios[p]) for p in ("forward", "backward", "head")]))
    return math.hypot(
        time.error_fraction, *spreads, TRANSFER_FRACTION, DISPERSION_SHARE * dispersion
    )


def _options(ratios: Mapping[str, float], backend: Backend) -> dict[str, str]:
    return {
        "transfer_backend": backend,
        **{f"transfer_ratio_{part}": f"{ratio:.4f}" for part, ratio in ratios.items()},
    }


def _origins(profile: Profile, backend: Backend, origin: str) -> dict[str, Origin]:
    device = profile.device.name
    return {
        "time": Origin(
            kind="derived",
            source=f"time of a profile of '{device}', each part scaled by the ratio of "
            f"micro-benchmarks ({backend}) on both devices; mix of kernels by closed form "
            f"from {origin}",
        ),
        "memory": Origin(
            kind="derived", source=f"as on '{device}': memory does not depend on the speed"
        ),
        "device": Origin(kind="measured", source="stated by the system of the device"),
    }


def _notes(profile: Profile, here: Benchmark, there: Benchmark, origin: str) -> list[str]:
    notes = []
    if profile.device.name != here.device.name:
        notes.append(
            f"the profile is of '{profile.device.name}' and the benchmark here of "
            f"'{here.device.name}'; they should be of one machine"
        )
    if "not given" in origin:
        notes.append(f"the mix of kernels is that of {origin}; say MODEL to have its own")
    return notes + [
        f"'{benchmark.device.name}' was busy while it was benchmarked: blocks took "
        f"{benchmark.busy_fraction:.0%} longer than alone; the figures allow for that"
        for benchmark in (here, there)
        if benchmark.busy_fraction > BUSY_FRACTION
    ]
