"""The benchmarking process: one JSON `Request` on stdin, one `Reply` on stdout.

A process of its own because the threads of a BLAS are set before it is loaded.
"""

import importlib.util
import math
import os
import random
import sys
import time
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from msgspec import Struct

from profiler.microbench.file import Kernel
from profiler.microbench.kernels import Operation, numpy_operations, torch_operations

__all__ = ["Reply", "Request"]

BLOCK_S = 0.02
MIN_ROUNDS = 5


class Request(Struct, frozen=True, kw_only=True):
    """What to time."""

    threads: int
    quota_cores: float | None
    seconds: float
    seed: int


class Reply(Struct, frozen=True, kw_only=True):
    """What was timed, how long blocks took beyond an idle machine, and by what."""

    kernels: list[Kernel]
    busy_fraction: float
    versions: dict[str, str]


def main() -> None:
    """Serve one request."""
    # Libraries may print: keep stdout for the reply.
    reply = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    with reply:
        reply.write(msgspec.json.encode(_serve(request)))


def _serve(request: Request) -> Reply:
    versions = {"numpy": np.__version__}
    operations = numpy_operations(request.threads, request.seed)
    if importlib.util.find_spec("torch"):
        import torch

        versions["torch"] = str(torch.__version__)
        operations += torch_operations(request.threads, request.seed)
    timers = [_Timer(operation) for operation in operations]
    _run(timers, request.seconds, random.Random(request.seed))
    quota = request.quota_cores or math.inf
    idle_s = sum(max(sum(t.own_s), sum(t.process_s) / quota) for t in timers)
    return Reply(
        kernels=[timer.kernel() for timer in timers],
        busy_fraction=max(0.0, sum(timer.wall_s for timer in timers) / idle_s - 1.0),
        versions=versions,
    )


def _run(timers: Sequence["_Timer"], seconds: float, order: random.Random) -> None:
    """Time all in turns, shuffled, so that drift of the machine spreads over all alike."""
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < MIN_ROUNDS or time.perf_counter() < end:
        for timer in order.sample(timers, len(timers)):
            timer.block()
        rounds += 1


class _Timer:
    """Times blocks of calls of one operation.

    What counts is CPU time: on a machine that does nothing else, a call takes that of the
    calling thread, which does its share of all work; under a CPU quota, that of all threads
    over the quota, if it is more.
    """

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self._calls = _calls_for(BLOCK_S, operation.call)
        self.own_s: list[float] = []
        self.process_s: list[float] = []
        self.wall_s = 0.0

    def block(self) -> None:
        """Time one block."""
        wall, own, process = time.perf_counter(), time.thread_time(), time.process_time()
        for _ in range(self._calls):
            self._operation.call()
        self.process_s.append(time.process_time() - process)
        self.own_s.append(time.thread_time() - own)
        self.wall_s += time.perf_counter() - wall

    def kernel(self) -> Kernel:
        """The operation with its median time."""
        low, middle, high = np.quantile(self.own_s, (0.25, 0.5, 0.75))
        operation = self._operation
        return Kernel(
            name=operation.name,
            backend=operation.backend,
            kind=operation.kind,
            flops=operation.flops,
            traffic_bytes=operation.traffic_bytes,
            elements=operation.elements,
            call_s=float(middle) / self._calls,
            process_s=float(np.median(self.process_s)) / self._calls,
            spread_fraction=float((high - low) / 2 / middle),
            blocks=len(self.own_s),
        )


def _calls_for(seconds: float, call: Callable[[], object]) -> int:
    """How many calls fill a block; also warms the operation up."""
    call()
    start = time.thread_time()
    calls = 0
    while time.thread_time() - start < seconds:
        call()
        calls += 1
    return max(1, calls)


if __name__ == "__main__":
    main()
