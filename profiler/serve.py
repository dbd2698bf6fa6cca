"""The child's end of the pipe to the profiler: JSON lines in on stdin, out on stdout."""

import os
import signal
import sys
from collections.abc import Callable, Iterator

import msgspec

from profiler.probes import Message, Refused
from profiler.schema import InputError


def serve(answer: Callable[[], Iterator[Message]]) -> None:
    """Send what `answer` yields; the parent ends this process, also on Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries may print: keep stdout for messages.
    messages = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        for message in answer():
            messages.write(msgspec.json.encode(message) + b"\n")
    except InputError as error:
        messages.write(msgspec.json.encode(Refused(message=str(error))) + b"\n")
