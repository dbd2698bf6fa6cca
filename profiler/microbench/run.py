"""A micro-benchmark of about ten seconds: how fast this device is at what training does.

It needs numpy and nothing else. Where torch is installed its kernels are timed as well, so
that two files can always be compared by what both hold. `profiler.microbench.transfer` turns a
profile and two benchmarks into the profile of another device.
"""

import math
import os
import platform
import subprocess
import sys
from pathlib import Path

import msgspec

from profiler.launch import TIME_ENVIRONMENT, search_path
from profiler.microbench.file import Benchmark
from profiler.microbench.worker import Reply, Request
from profiler.quota import quota_cores
from profiler.schema import Device, InputError, Origin, provenance

__all__ = ["BUDGET_S", "run_benchmark", "usable_threads"]

BUDGET_S = 6.0
PATIENCE_S = 300.0


def usable_threads() -> int:
    """Processors that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def run_benchmark(threads: int = 0, seed: int = 0, seconds: float = BUDGET_S) -> Benchmark:
    """Time the operations of training on this machine's processor.

    Parameters
    ----------
    threads : int
        CPU threads; 0 for all that this process may use.
    seed : int
        Seed of the numbers computed with, and of the order.
    seconds : float
        Time to spend, beside loading and warming up; every operation gets five blocks at
        least.

    Raises
    ------
    InputError
        If the benchmark's process fails, as for lack of memory.
    """
    threads = threads or usable_threads()
    quota = quota_cores()
    limit = quota if math.isfinite(quota) else None
    request = Request(threads=threads, quota_cores=limit, seconds=seconds, seed=seed)
    reply = _ask(request)
    return Benchmark(
        provenance=provenance(
            seed=seed,
            options={**reply.versions, "processor": _processor(), "threads": str(threads)},
            origins={
                "kernels": Origin(
                    kind="measured",
                    source="blocks of calls, shuffled and interleaved; CPU seconds of the "
                    "calling thread and of the process; median of blocks",
                )
            },
        ),
        device=Device(
            name=platform.node() or "this machine",
            processor="cpu",
            threads=threads,
            memory_bytes=_memory_bytes(),
        ),
        quota_cores=limit or 0.0,
        busy_fraction=reply.busy_fraction,
        kernels=reply.kernels,
    )


def _ask(request: Request) -> Reply:
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "profiler.microbench.worker"],
            input=msgspec.json.encode(request),
            capture_output=True,
            env=_environment(),
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"the benchmark was not done after {PATIENCE_S:.0f} s; try again on a less busy "
            "machine or with fewer --threads"
        ) from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines else "no message"
        raise InputError(f"the benchmark's process ended with {done.returncode}: {last}")
    return msgspec.json.decode(done.stdout, type=Reply)


def _environment() -> dict[str, str]:
    """One thread for every BLAS: the kernels share their work out themselves."""
    pools = ("OMP_NUM", "MKL_NUM", "OPENBLAS_NUM", "VECLIB_MAXIMUM")
    return {
        **os.environ,
        **TIME_ENVIRONMENT,
        **{f"{pool}_THREADS": "1" for pool in pools},
        "PYTHONPATH": search_path(),
    }


def _processor() -> str:
    """Name of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine())


def _memory_bytes() -> int:
    """Physical memory; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0
