"""Measure the profile of a model on this machine: time by probes, memory by counting."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
import psutil
import torch

from profiler.anatomy import Anatomy, examine
from profiler.checkpoint import Checkpoint, open_checkpoint, settle
from profiler.fit import TimeFit, fit_time
from profiler.launch import ENVIRONMENT, Worker
from profiler.memory import memory_model, probe_count
from profiler.probes import Processor, Request, choose_probes
from profiler.schema import (
    Device,
    InputError,
    Memory,
    Origin,
    Profile,
    Training,
    provenance,
)

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
    if processor == "cuda" and not torch.cuda.is_available():
        raise InputError("no CUDA device found; choose --device cpu")
    checkpoint = open_checkpoint(model)
    training, notes = settle(checkpoint, training)
    anatomy = examine(checkpoint, training, targets)
    if not checkpoint.has_weights:
        notes.append("no weights in the folder: random ones are used, which cost the same")
    for note in notes:
        listener.note(note)
    request = Request(
        model=model,
        training=training,
        targets=list(targets),
        probes=choose_probes(anatomy.model.layers, quick=effort.quick),
        rounds=effort.rounds,
        warmup=effort.warmup,
        patience_s=effort.patience_s,
        threads=threads or torch.get_num_threads(),
        processor=processor,
        seed=seed,
    )
    memory, fit = _run(checkpoint, anatomy, request, listener)
    _warn(fit, listener)
    return _profile(checkpoint, anatomy, request, memory, fit)


def _run(
    checkpoint: Checkpoint, anatomy: Anatomy, request: Request, listener: Listener
) -> tuple[Memory, TimeFit]:
    """Count memory here while the timing process loads, then let it have the machine."""
    with Worker(request) as worker:
        listener.stage("counting memory", probe_count(anatomy))
        memory = memory_model(checkpoint, anatomy, request.training, listener.advance)
        listener.stage("loading the model", 1)
        framework = worker.ready().framework_bytes
        listener.advance()
        rounds = request.rounds + request.warmup
        listener.stage("timing steps", rounds * len(request.probes))
        samples = []
        for sample in worker.samples():
            samples.append(sample)
            listener.advance()
    fit = fit_time(request.probes, samples, anatomy.kinds, anatomy.lora.parameters_per_rank)
    return msgspec.structs.replace(memory, framework_bytes=framework), fit


def _warn(fit: TimeFit, listener: Listener) -> None:
    if fit.disturbed or fit.time.error_fraction > ERROR_FRACTION:
        listener.note(
            f"the machine was busy: steps took {fit.busy_fraction:.0%} longer than they would "
            f"alone; the profile allows for that, to about {fit.time.error_fraction:.0%}; "
            "for a surer one measure again with nothing else running"
        )


def _profile(
    checkpoint: Checkpoint, anatomy: Anatomy, request: Request, memory: Memory, fit: TimeFit
) -> Profile:
    from profiler.gain import default_gain

    gain = default_gain(anatomy.model.layers)
    return Profile(
        provenance=provenance(
            seed=request.seed,
            options=_options(checkpoint, request, fit),
            inputs=[checkpoint.config_path],
            origins=_origins(gain.method),
        ),
        model=anatomy.model,
        training=request.training,
        lora=anatomy.lora,
        gain=gain,
        device=_device(request),
        time=fit.time,
        memory=memory,
    )


def _device(request: Request) -> Device:
    if request.processor == "cuda":
        card = torch.cuda.get_device_properties(0)
        return Device(name=card.name, processor="cuda", memory_bytes=card.total_memory)
    return Device(
        name=platform.node() or "this machine",
        processor="cpu",
        threads=request.threads,
        memory_bytes=psutil.virtual_memory().total,
    )


def _options(checkpoint: Checkpoint, request: Request, fit: TimeFit) -> dict[str, str]:
    """How it was measured, and how well that went."""
    probes = " ".join(f"({p.depth},{p.rank})" for p in request.probes)
    return {
        "weights": "loaded" if checkpoint.has_weights else "random",
        "torch": str(torch.__version__),
        "targets": ",".join(request.targets) or "default",
        "time_probes_depth_rank": probes,
        "time_rounds": str(fit.rounds),
        "time_environment": " ".join(f"{name}={value}" for name, value in ENVIRONMENT.items()),
        "time_wall_per_cpu": f"{fit.wall_per_cpu:.4f}",
        "time_busy_fraction": f"{fit.busy_fraction:.4f}",
        "time_residual_fraction": f"{fit.residual_fraction:.4f}",
        "time_noise_fraction": f"{fit.noise_fraction:.4f}",
        "load_average": f"{psutil.getloadavg()[0]:.2f}",
    }


def _origins(gain_method: str) -> dict[str, Origin]:
    return {
        "model": Origin(kind="measured", source="the model's own modules and parameters"),
        "lora": Origin(kind="measured", source="the model's own modules and parameters"),
        "time": Origin(
            kind="measured",
            source="training steps run here, interleaved, in a process of their own; CPU "
            "seconds of the main thread, mean of the lower half, as wall seconds when idle",
        ),
        "memory": Origin(
            kind="derived",
            source="every storage of a training step counted on fake tensors; what a device "
            "takes beyond it depends on its allocator",
        ),
        "memory.framework_bytes": Origin(
            kind="measured",
            source="resident size of a process that has loaded torch, transformers and peft",
        ),
        "gain": Origin(kind="derived", source=gain_method),
    }
