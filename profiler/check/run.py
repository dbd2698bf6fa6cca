"""Hold a profile against configurations that were never used in its fit, run here."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from msgspec.structs import asdict

from profiler.check.held_out import FOLDS, fold_of, held_out
from profiler.check.result import Case, CheckReport
from profiler.drift import drift_scale
from profiler.launch import MemoryProcess, TimeProcess
from profiler.listener import Listener, Silence
from profiler.measure import FULL, QUICK, Effort, time_request, time_steps
from profiler.predict import peak_bytes, step_s
from profiler.probes import Growth, MemoryRequest, Setup
from profiler.record import device_here
from profiler.schema import InputError, Profile
from profiler.survey import Survey, survey
from profiler.timing.spans import UNDISTURBED, Timings, summarise

__all__ = ["FULL_CHECK", "QUICK_CHECK", "CheckEffort", "check_profile"]

# Memory does not mind company: processes that are watched run two at a time.
TOGETHER = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckEffort:
    """How many configurations are held out, and how long they are timed."""

    cases: int
    timing: Effort


FULL_CHECK = CheckEffort(cases=8, timing=FULL)
QUICK_CHECK = CheckEffort(cases=4, timing=QUICK)


def check_profile(
    profile: Profile,
    model: str,
    *,
    effort: CheckEffort = FULL_CHECK,
    seed: int = 0,
    listener: Listener | None = None,
) -> CheckReport:
    """Run held-out depths and ranks here and compare them with what the profile says.

    Time is measured in one fresh process, memory in a process for every configuration.

    Parameters
    ----------
    profile : Profile
        Of this machine, measured or transferred.
    model : str
        The model it is for: a folder, or a hub id in the local cache.
    effort : CheckEffort
        `FULL_CHECK` or `QUICK_CHECK`.
    seed : int
        Seed of the configurations, the weights drawn, the batch and the order.
    listener : Listener, optional
        Told about progress and notes.

    Raises
    ------
    InputError
        If the profile is for another model or another device.
    """
    listener = listener or Silence()
    found = _matching(profile, model)
    configurations = held_out(profile.model.layers, effort.cases, seed)
    setup = Setup(
        model=model,
        training=found.training,
        targets=[t.name for t in profile.model.targets],
        processor=profile.device.processor,
        seed=seed,
    )
    memory = list(_watch(setup, configurations, profile.device.threads, found, listener))
    with TimeProcess(profile.device.threads) as process:
        request = time_request(setup, configurations, effort.timing)
        _, samples = time_steps(process, request, listener)
    timings = summarise(samples, len(configurations))
    return _compare(profile, configurations, memory, timings)


def _matching(profile: Profile, model: str) -> Survey:
    """Look at the model; refuse a profile of another one, or of another device."""
    machine = profile.device
    found = survey(
        model, profile.training, [t.name for t in profile.model.targets], machine.processor
    )
    here = device_here(machine.processor, machine.threads)
    if machine.name != here.name:
        raise InputError(
            f"the profile is for the device '{machine.name}', this is '{here.name}'; check it "
            "there, or profile this machine"
        )
    theirs, ours = asdict(profile.model), asdict(found.anatomy.model)
    for field in sorted(theirs.keys() - {"name"}):
        if theirs[field] != ours[field]:
            raise InputError(
                f"the profile is for another model than {model}: {field} is {theirs[field]} "
                f"there and {ours[field]} here; give the model it was made from"
            )
    return found


def _watch(
    setup: Setup,
    configurations: Sequence[list[int]],
    threads: int,
    found: Survey,
    listener: Listener,
) -> Iterator[tuple[Growth, int]]:
    """Growth of a process for every configuration, and its exact peak of tensors."""
    listener.stage("watching processes", len(configurations))
    for start in range(0, len(configurations), TOGETHER):
        with ExitStack() as stack:
            pending = []
            for ranks in configurations[start : start + TOGETHER]:
                process = stack.enter_context(MemoryProcess(threads))
                process.submit(MemoryRequest(setup=setup, ranks=ranks))
                pending.append((process, ranks))
            for process, ranks in pending:
                exact_bytes = found.count_peaks(ranks).peak_bytes
                yield process.growth(), exact_bytes
                listener.advance()


def _compare(
    profile: Profile,
    configurations: Sequence[list[int]],
    memory: Sequence[tuple[Growth, int]],
    timings: Timings,
) -> CheckReport:
    measured_s = timings.seconds.tolist()
    scales = _scales(profile, configurations, measured_s)
    framework_bytes = profile.memory.framework_bytes
    cases = []
    for index, (ranks, (growth, exact_bytes)) in enumerate(
        zip(configurations, memory, strict=True)
    ):
        predicted_s = step_s(profile.time, ranks)
        predicted_bytes = peak_bytes(profile.memory, ranks)
        cases.append(
            Case(
                ranks=ranks,
                predicted_s=predicted_s,
                rescaled_s=predicted_s * scales[1 - fold_of(index)],
                measured_s=measured_s[index],
                noise_fraction=float(timings.noise_fraction[index]),
                affine_bytes=predicted_bytes - framework_bytes,
                exact_bytes=exact_bytes,
                predicted_bytes=predicted_bytes,
                resident_bytes=growth.peak_bytes,
                libraries_bytes=growth.base_bytes,
            )
        )
    return CheckReport(
        model=profile.model.name,
        device=profile.device.name,
        cases=cases,
        scales=scales,
        busy_fraction=timings.busy_fraction,
        notes=_notes(timings),
    )


def _scales(
    profile: Profile, configurations: Sequence[list[int]], measured_s: Sequence[float]
) -> list[float]:
    """One scalar for each half of the configurations."""
    observed = list(zip(configurations, measured_s, strict=True))
    return [
        drift_scale(
            profile.time, [o for index, o in enumerate(observed) if fold_of(index) == fold]
        )
        for fold in range(FOLDS)
    ]


def _notes(timings: Timings) -> list[str]:
    noise = float(np.sqrt(np.mean(timings.noise_fraction**2)))
    if timings.busy_fraction <= UNDISTURBED - 1:
        return []
    return [
        f"the machine was busy: steps took {timings.busy_fraction:.0%} longer than alone, and "
        f"measured times are sure to {noise:.1%} only; for a surer check run it again with "
        "nothing else running"
    ]
