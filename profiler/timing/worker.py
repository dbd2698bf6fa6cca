"""The timing process: serves one `Request` and ends.

JSON lines: a `Request` comes in, `Ready` goes out once the model is built, any further line
sets the timing off, then `Sample` by `Sample` goes out. A `Refused` ends it early.
"""

import sys
import time
from collections.abc import Iterator

import msgspec

from profiler.probes import MIN_ROUNDS, Message, Ready, Request
from profiler.serve import serve


def _answer() -> Iterator[Message]:
    # Loaded before the request is read, while the parent prepares it.
    import torch

    from profiler.anatomy import examine
    from profiler.checkpoint import open_checkpoint
    from profiler.timing.steps import Rig

    line = sys.stdin.readline()
    if not line:
        return
    request = msgspec.json.decode(line, type=Request)
    setup = request.setup
    checkpoint = open_checkpoint(setup.model)
    anatomy = examine(checkpoint, setup.training, setup.targets)
    rig = Rig(
        checkpoint,
        anatomy,
        setup.training,
        request.configurations,
        processor=setup.processor,
        seed=setup.seed,
    )
    yield Ready(threads=torch.get_num_threads())
    if not sys.stdin.readline():
        return
    start = time.perf_counter()
    for sample in rig.run(request.rounds, request.warmup):
        late = time.perf_counter() - start > request.patience_s
        if late and sample.round >= MIN_ROUNDS:
            return
        yield sample


if __name__ == "__main__":
    serve(_answer)
