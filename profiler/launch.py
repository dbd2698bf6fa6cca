"""Starts the timing process and talks to it.

Time has a process of its own because what makes it steady would spoil everything else.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec

from profiler.probes import Message, Ready, Refused, Request, Sample
from profiler.schema import InputError

ENVIRONMENT = {
    # glibc otherwise hands freed pages back and takes them again in every step, which makes
    # deep configurations look slower than they are.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    # Threads that wait sleep instead of spinning (GNU and LLVM OpenMP), so that the CPU time
    # of a thread is work it did, also where other programs compete for the cores.
    "OMP_WAIT_POLICY": "passive",
    "KMP_BLOCKTIME": "0",
}
_DECODER: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


class Worker:
    """The timing process, seen from outside; a context manager that never leaves it behind.

    It starts to load its libraries at once, so begin it before loading them here.

    Parameters
    ----------
    threads : int
        CPU threads; 0 for as many as torch takes.
    """

    def __init__(self, threads: int) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # see __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "profiler.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=_environment(threads),
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
                "the timing process was killed, most likely for lack of memory; try a smaller "
                "--batch-size or --sequence-length"
            )
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines else "no message"
        return f"the timing process ended with code {code}: {last}"


def _environment(threads: int) -> dict[str, str]:
    count = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return {
        **os.environ,
        **ENVIRONMENT,
        **(count if threads else {}),
        "HF_HUB_OFFLINE": "1",
        # The child must find this package and its libraries where we found them.
        "PYTHONPATH": os.pathsep.join(filter(None, [_package_root(), *sys.path])),
    }


def _package_root() -> str:
    return str(Path(__file__).resolve().parent.parent)
