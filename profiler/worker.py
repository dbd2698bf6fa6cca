"""The timing process: serves one `Request` and ends.

JSON lines: a `Request` comes in, `Ready` goes out once the model is built, any further line
sets the timing off, then `Sample` by `Sample` goes out. A `Refused` ends it early.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator

import msgspec

from profiler.probes import MIN_ROUNDS, Message, Processor, Ready, Refused, Request
from profiler.schema import InputError


def main() -> None:
    """Serve one request; the parent ends this process, also on Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries may print: keep stdout for messages.
    messages = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        for message in _serve():
            messages.write(msgspec.json.encode(message) + b"\n")
    except InputError as error:
        messages.write(msgspec.json.encode(Refused(message=str(error))) + b"\n")


def _serve() -> Iterator[Message]:
    # Loaded before the request is read, while the parent prepares it.
    import torch

    from profiler.anatomy import examine
    from profiler.checkpoint import open_checkpoint
    from profiler.timing import Rig

    line = sys.stdin.readline()
    if not line:
        return
    request = msgspec.json.decode(line, type=Request)
    framework = framework_bytes(request.processor)
    checkpoint = open_checkpoint(request.model)
    anatomy = examine(checkpoint, request.training, request.targets)
    rig = Rig(
        checkpoint,
        anatomy,
        request.training,
        request.probes,
        processor=request.processor,
        seed=request.seed,
    )
    yield Ready(framework_bytes=framework, threads=torch.get_num_threads())
    if not sys.stdin.readline():
        return
    start = time.perf_counter()
    for sample in rig.run(request.rounds, request.warmup):
        late = time.perf_counter() - start > request.patience_s
        if late and sample.round >= MIN_ROUNDS:
            return
        yield sample


def framework_bytes(processor: Processor) -> int:
    """Memory of this process before it loads a model; on a GPU, of its context."""
    import psutil
    import torch

    if processor == "cpu":
        return int(psutil.Process().memory_info().rss)
    torch.zeros(1, device="cuda")
    free, total = torch.cuda.mem_get_info()
    return int(total - free - torch.cuda.memory_reserved())


if __name__ == "__main__":
    main()
