"""The measured profile as a file: figures, and where each comes from."""

import platform
from collections.abc import Sequence

import psutil
import torch
from msgspec.structs import replace

from profiler.checkpoint import Checkpoint
from profiler.gain.default import default_gain
from profiler.launch import TIME_ENVIRONMENT
from profiler.memory.excess import Excess
from profiler.probes import Probe, Processor, Ready, Setup
from profiler.schema import Device, Memory, Origin, Profile, provenance
from profiler.survey import Survey
from profiler.timing.fit import TimeFit


def make_profile(
    found: Survey,
    setup: Setup,
    probes: Sequence[Probe],
    ready: Ready,
    *,
    fit: TimeFit,
    memory: Memory,
    excess: Excess,
) -> Profile:
    """Put a profile together from its measured parts."""
    model = found.anatomy.model
    gain = default_gain(model.layers)
    return Profile(
        provenance=provenance(
            seed=setup.seed,
            options={
                **_options(found.checkpoint, setup, probes, fit),
                **excess.options(),
            },
            inputs=[found.checkpoint.config_path],
            origins={**_origins(gain.method), "memory.framework_bytes": excess.origin()},
        ),
        model=model,
        training=setup.training,
        lora=found.anatomy.lora,
        gain=gain,
        device=device_here(setup.processor, ready.threads),
        time=fit.time,
        memory=replace(memory, framework_bytes=excess.framework_bytes),
    )


def device_here(processor: Processor, threads: int) -> Device:
    """Describe this machine, or its GPU."""
    if processor == "cuda":
        card = torch.cuda.get_device_properties(0)
        return Device(name=card.name, processor="cuda", memory_bytes=card.total_memory)
    return Device(
        name=platform.node() or "this machine",
        processor="cpu",
        threads=threads,
        memory_bytes=psutil.virtual_memory().total,
    )


def _options(
    checkpoint: Checkpoint, setup: Setup, probes: Sequence[Probe], fit: TimeFit
) -> dict[str, str]:
    """How it was measured, and how well that went."""
    return {
        "weights": "loaded" if checkpoint.has_weights else "random",
        "torch": str(torch.__version__),
        "targets": ",".join(setup.targets) or "default",
        "time_probes_depth_rank": " ".join(f"({p.depth},{p.rank})" for p in probes),
        "time_rounds": str(fit.rounds),
        "time_environment": " ".join(
            f"{name}={value}" for name, value in TIME_ENVIRONMENT.items()
        ),
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
        "gain": Origin(kind="derived", source=gain_method),
    }
