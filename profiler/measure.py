"""Measure the profile of a model on this machine: time by probes, memory by counting."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from profiler.launch import Worker
from profiler.probes import Processor, Request, Sample, choose_probes
from profiler.schema import Profile, Training

if TYPE_CHECKING:
    from profiler.fit import TimeFit

# Above this, a person should know that the figures are shaky, and what to do.
ERROR_FRACTION = 0.05


class Listener(Protocol):
    """Follows a measurement."""

    def stage(self, name: str, steps: int) -> None:
        """A stage of so many steps begins."""

    def advance(self) -> None:
        """One step of the stage is done."""

    def note(self, text: str) -> None:
        """Something a person should know."""


class Silence:
    """A listener that ignores everything."""

    def stage(self, name: str, steps: int) -> None:
        """Ignore it."""

    def advance(self) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""


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
    with Worker(threads) as worker:
        # Imported here: both processes load their libraries at the same time.
        from profiler.fit import fit_time
        from profiler.record import make_profile
        from profiler.survey import survey

        found = survey(model, training, targets, processor)
        for note in found.notes:
            listener.note(note)
        request = Request(
            model=model,
            training=found.training,
            targets=list(targets),
            probes=choose_probes(found.anatomy.model.layers, quick=effort.quick),
            rounds=effort.rounds,
            warmup=effort.warmup,
            patience_s=effort.patience_s,
            processor=processor,
            seed=seed,
        )
        worker.submit(request)
        listener.stage("counting memory", found.probe_count)
        memory = found.count_memory(listener.advance)
        listener.stage("loading the model", 1)
        ready = worker.ready()
        listener.advance()
        samples = _time(worker, request, listener)
    lora = found.anatomy.lora
    fit = fit_time(request.probes, samples, found.anatomy.kinds, lora.parameters_per_rank)
    _warn(fit, listener)
    return make_profile(found, request, ready, memory, fit)


def _time(worker: Worker, request: Request, listener: Listener) -> list[Sample]:
    steps = (request.rounds + request.warmup) * len(request.probes)
    listener.stage("timing steps", steps)
    samples = []
    for sample in worker.samples():
        samples.append(sample)
        listener.advance()
    return samples


def _warn(fit: "TimeFit", listener: Listener) -> None:
    if fit.disturbed or fit.time.error_fraction > ERROR_FRACTION:
        listener.note(
            f"the machine was busy: steps took {fit.busy_fraction:.0%} longer than they would "
            f"alone; the profile allows for that, to about {fit.time.error_fraction:.0%}; "
            "for a surer one measure again with nothing else running"
        )
