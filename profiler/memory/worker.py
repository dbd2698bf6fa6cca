"""The memory process: trains one configuration a few steps and says what that took.

A `MemoryRequest` comes in, a `Growth` (or `Refused`) goes out.
"""

import contextlib
import gc
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil

from profiler.probes import Growth, MemoryRequest, Message, Processor
from profiler.serve import serve

# The first step creates the optimizer's state; later ones show the peak of them all.
STEPS = 3
STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
# What makes Linux start its high-water mark anew, see proc_pid_clear_refs(5).
RESET_PEAK = "5"


def _answer() -> Iterator[Message]:
    # Loaded before the request is read, while the parent prepares it.
    from profiler.adapters import Step, adapt, make_batch, seeded
    from profiler.anatomy import examine
    from profiler.checkpoint import build, open_checkpoint

    line = sys.stdin.readline()
    if not line:
        return
    request = msgspec.json.decode(line, type=MemoryRequest)
    setup, training = request.setup, request.setup.training
    checkpoint = open_checkpoint(setup.model)
    anatomy = examine(checkpoint, training, setup.targets)
    gc.collect()
    base_bytes = _now_bytes(setup.processor)
    with seeded(setup.seed):
        plain = build(checkpoint, training, meta=False)
        config = plain.config
        model = adapt(plain, anatomy, request.ranks, training).to(setup.processor)
        batch = make_batch(config.vocab_size, config.pad_token_id, training)
        on_device = {name: tensor.to(setup.processor) for name, tensor in batch.items()}
        for parameter in model.parameters():
            # Weights mapped from a file are not resident before somebody has read them.
            parameter.sum()
        step = Step(model, on_device, training)
        _restart_peak(setup.processor)
        for _ in range(STEPS):
            step.run()
    yield Growth(base_bytes=base_bytes, peak_bytes=_peak_bytes(setup.processor))


def _now_bytes(processor: Processor) -> int:
    """Memory in use; on a GPU what its context takes."""
    if processor == "cpu":
        return int(psutil.Process().memory_info().rss)
    import torch

    torch.zeros(1, device="cuda")
    free, total = torch.cuda.mem_get_info()
    return int(total - free - torch.cuda.memory_reserved())


def _peak_bytes(processor: Processor) -> int:
    if processor == "cpu":
        return _resident_peak_bytes()
    import torch

    return _now_bytes(processor) + torch.cuda.max_memory_allocated()


def _restart_peak(processor: Processor) -> None:
    """Forget the peak of loading the model."""
    if processor == "cpu":
        # Where the system cannot do this, the peak of loading counts as well.
        with contextlib.suppress(OSError):
            CLEAR_REFS.write_text(RESET_PEAK)
        return
    import torch

    torch.cuda.reset_peak_memory_stats()


def _resident_peak_bytes() -> int:
    if not STATUS.exists():
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    # Better than getrusage, whose mark survives exec and may be that of the parent process.
    fields = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024


if __name__ == "__main__":
    serve(_answer)
