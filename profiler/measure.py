"""Measure the profile of a model on this machine: time by probes, memory by counting."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from profiler.launch import MemoryProcess, TimeProcess
from profiler.listener import Listener, Silence
from profiler.probes import (
    MemoryRequest,
    Processor,
    Ready,
    Request,
    Sample,
    Setup,
    calibration_ranks,
    choose_probes,
)
from profiler.schema import Memory, Profile, Training

if TYPE_CHECKING:
    from profiler.memory.excess import Excess
    from profiler.survey import Survey
    from profiler.timing.fit import TimeFit

# Above this, a person should know that the figures are shaky, and what to do.
ERROR_FRACTION = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to measure.

    Attributes
    ----------
    quick : bool
        Fewer probes, no check of the fit.
    rounds, warmup : int
        Timed rounds over all probes, and rounds before them that do not count.
    patience_s : float
        Stop timing after this, once two rounds are complete.
    """

    quick: bool
    rounds: int
    warmup: int
    patience_s: float


FULL = Effort(quick=False, rounds=5, warmup=2, patience_s=40.0)
QUICK = Effort(quick=True, rounds=3, warmup=1, patience_s=6.0)


def measure_profile(
    model: str,
    training: Training,
    *,
    targets: Sequence[str] = (),
    processor: Processor = "cpu",
    threads: int = 0,
    effort: Effort = FULL,
    seed: int = 0,
    listener: Listener | None = None,
) -> Profile:
    """Measure what adapting `model` costs on this machine.

    Parameters
    ----------
    model : str
        A Hugging Face model folder, or a hub id in the local cache.
    training : Training
        The step to profile; attention falls back to eager where the model lacks sdpa.
    targets : sequence of str
        Modules to adapt; by default as PEFT does in this family.
    processor : {'cpu', 'cuda'}
        What computes.
    threads : int
        CPU threads; 0 for as many as torch takes.
    effort : Effort
        `FULL` or `QUICK`.
    seed : int
        Seed of the weights drawn (where the folder has none), the batch and the order.
    listener : Listener, optional
        Told about progress and notes.

    Raises
    ------
    InputError
        If the folder is no model that can be profiled, or there is no such processor.
    """
    listener = listener or Silence()
    with TimeProcess(threads) as timer, MemoryProcess(threads) as trainer:
        # Imported here: all processes load their libraries at the same time.
        from profiler.record import make_profile
        from profiler.survey import survey
        from profiler.timing.fit import fit_time

        found = survey(model, training, targets, processor)
        for note in found.notes:
            listener.note(note)
        setup = Setup(
            model=model,
            training=found.training,
            targets=list(targets),
            processor=processor,
            seed=seed,
        )
        memory, excess = _measure_memory(trainer, setup, found, listener)
        layers = found.anatomy.model.layers
        probes = choose_probes(layers, quick=effort.quick)
        request = time_request(setup, [p.ranks(layers) for p in probes], effort)
        ready, samples = time_steps(timer, request, listener)
    lora = found.anatomy.lora
    fit = fit_time(probes, samples, found.anatomy.kinds, lora.parameters_per_rank)
    _warn(fit, listener)
    return make_profile(found, setup, probes, ready, fit=fit, memory=memory, excess=excess)


def _measure_memory(
    process: MemoryProcess, setup: Setup, found: "Survey", listener: Listener
) -> tuple[Memory, "Excess"]:
    """Count the tensors of a step here while the process trains one configuration."""
    from profiler.memory.excess import Excess

    ranks = calibration_ranks(found.anatomy.model.layers)
    process.submit(MemoryRequest(setup=setup, ranks=ranks))
    listener.stage("counting memory", found.probe_count + 1)
    memory = found.count_memory(listener.advance)
    counted = found.count_peaks(ranks).peak_bytes
    # Waited for before anything is timed: two models at once may not fit.
    excess = Excess(ranks=ranks, growth=process.growth(), counted_bytes=counted)
    listener.advance()
    return memory, excess


def time_request(
    setup: Setup, configurations: Sequence[Sequence[int]], effort: Effort
) -> Request:
    """Say that these rank lists are to be timed."""
    return Request(
        setup=setup,
        configurations=[list(ranks) for ranks in configurations],
        rounds=effort.rounds,
        warmup=effort.warmup,
        patience_s=effort.patience_s,
    )


def time_steps(
    process: TimeProcess, request: Request, listener: Listener
) -> tuple[Ready, list[Sample]]:
    """Build the model in the timing process and time it."""
    process.submit(request)
    listener.stage("loading the model", 1)
    ready = process.ready()
    listener.advance()
    steps = (request.rounds + request.warmup) * len(request.configurations)
    listener.stage("timing steps", steps)
    samples = []
    for sample in process.samples():
        samples.append(sample)
        listener.advance()
    return ready, samples


def _warn(fit: "TimeFit", listener: Listener) -> None:
    if fit.disturbed or fit.time.error_fraction > ERROR_FRACTION:
        listener.note(
            f"the machine was busy: steps took {fit.busy_fraction:.0%} longer than they would "
            f"alone; the profile allows for that, to about {fit.time.error_fraction:.0%}; "
            "for a surer one measure again with nothing else running"
        )
