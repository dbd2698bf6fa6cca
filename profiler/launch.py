"""Starts the measuring processes and talks to them.

Time and memory have processes of their own because what makes the one steady would spoil
the other, and everything else.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec

from profiler.probes import Growth, MemoryRequest, Message, Ready, Refused, Request, Sample
from profiler.schema import InputError

TIME_ENVIRONMENT = {
    # glibc otherwise hands freed pages back and takes them again in every step, which makes
    # deep configurations look slower than they are.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    # Threads that wait sleep instead of spinning (GNU and LLVM OpenMP), so that the CPU time
    # of a thread is work it did, also where other programs compete for the cores.
    "OMP_WAIT_POLICY": "passive",
    "KMP_BLOCKTIME": "0",
}
# Freed tensors go back to the kernel at once, so that what is resident is what lives. It
# makes steps half as long again; glibc's defaults keep 20 to 40 % more than is needed.
MEMORY_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536"}
_DECODER: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


class Process:
    """A measuring process, seen from outside; a context manager that never leaves it behind.

    It starts to load its libraries at once, so begin it before loading them here.

    Parameters
    ----------
    module : str
        What it runs.
    environment : mapping of str to str
        Settings of its allocator and threads.
    threads : int
        CPU threads; 0 for as many as torch takes.
    """

    def __init__(self, module: str, environment: Mapping[str, str], threads: int) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # see __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=_environment(environment, threads),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _send(self, line: bytes) -> None:
        stream = self._process.stdin
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.write(line + b"\n")
                stream.flush()

    def _receive(self) -> Message | None:
        """Read a message; None at a good end."""
        stream = self._process.stdout
        line = stream.readline() if stream is not None else b""
        if not line:
            code = self._process.wait()
            if code:
                raise InputError(self._post_mortem(code))
            return None
        message = _DECODER.decode(line)
        if isinstance(message, Refused):
            raise InputError(message.message)
        return message

    def _post_mortem(self, code: int) -> str:
        if code == -signal.SIGKILL:
            return (
                "the measuring process was killed, most likely for lack of memory; try a "
                "smaller --batch-size or --sequence-length"
            )
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines else "no message"
        return f"the measuring process ended with code {code}: {last}"


class TimeProcess(Process):
    """Times steps; see `profiler.timing.worker`."""

    def __init__(self, threads: int) -> None:
        super().__init__("profiler.timing.worker", TIME_ENVIRONMENT, threads)

    def submit(self, request: Request) -> None:
        """Say what to time; the model is built while the caller goes on."""
        self._send(msgspec.json.encode(request))

    def ready(self) -> Ready:
        """Wait until the model is built."""
        message = self._receive()
        if not isinstance(message, Ready):
            raise InputError("the timing process ended before its model was built")
        return message

    def samples(self) -> Iterator[Sample]:
        """Start timing; yields samples as they come."""
        self._send(b"go")
        while isinstance(message := self._receive(), Sample):
            yield message


class MemoryProcess(Process):
    """Trains one configuration and says what that took; see `profiler.memory.worker`."""

    def __init__(self, threads: int) -> None:
        super().__init__("profiler.memory.worker", MEMORY_ENVIRONMENT, threads)

    def submit(self, request: MemoryRequest) -> None:
        """Say what to train."""
        self._send(msgspec.json.encode(request))

    def growth(self) -> Growth:
        """Wait for the end of it."""
        message = self._receive()
        if not isinstance(message, Growth):
            raise InputError("the memory process ended before it had trained")
        return message


def _environment(settings: Mapping[str, str], threads: int) -> dict[str, str]:
    count = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return {
        **os.environ,
        **settings,
        **(count if threads else {}),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": search_path(),
    }


def search_path() -> str:
    """Where a process of its own finds this package and its libraries, as this one has."""
    root = str(Path(__file__).resolve().parent.parent)
    return os.pathsep.join(filter(None, [root, *sys.path]))
