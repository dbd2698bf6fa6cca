"""The line between a ClientApp's process, which serves one message, and a device's worker.

The worker listens on a Unix socket in a folder that only its user may enter. Messages are
framed bytes: JSON, then adapters. Nothing is unpickled.
"""

import hashlib
import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Client, Connection
from pathlib import Path

import msgspec
from msgspec import Struct

from solver.plan import InputError

__all__ = ["MAX_FRAME_BYTES", "Call", "Reply", "ask", "private_folder"]

MAX_FRAME_BYTES = 1 << 32
START_S = 120.0


class Call(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asks the worker to carry out an order; the adapters follow in a frame of their own."""

    device: str
    model: str
    data: str
    order: str


class Reply(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A report, followed by the adapters; or an error, followed by nothing."""

    report: str = ""
    error: str = ""


def ask(call: Call, adapters: bytes, owner: int) -> tuple[str, bytes]:
    """Let the worker of this device train; start one where none is.

    Parameters
    ----------
    call : Call
    adapters : bytes
        As the server sent them.
    owner : int
        Process that the worker must not outlive.

    Raises
    ------
    InputError
        If the order cannot be carried out.
    """
    socket = private_folder() / _name(call, owner)
    with _connect(socket, lambda: _start(socket, owner)) as line:
        line.send_bytes(msgspec.json.encode(call))
        line.send_bytes(adapters)
        try:
            reply = msgspec.json.decode(line.recv_bytes(MAX_FRAME_BYTES), type=Reply)
            if reply.error:
                raise InputError(reply.error)
            return reply.report, line.recv_bytes(MAX_FRAME_BYTES)
        except (EOFError, OSError):
            raise InputError(
                "the training process ended (often: out of memory); see the SuperNode's log"
            ) from None


def private_folder() -> Path:
    """Folder for sockets that only this user may enter."""
    folder = Path(tempfile.gettempdir()) / f"legend-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    seen = folder.lstat()
    if seen.st_uid != os.getuid() or stat.S_IMODE(seen.st_mode) != 0o700 or folder.is_symlink():
        raise InputError(
            f"{folder}: is not this user's alone; expected mode 0700. Remove it, or set TMPDIR"
        )
    return folder


def _name(call: Call, owner: int) -> str:
    text = "\n".join((str(owner), call.device, call.model, call.data))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _connect(socket: Path, start: Callable[[], None]) -> Connection:
    """Connect to the worker, starting it if need be; raises `InputError` after `START_S`."""
    started, until = False, time.monotonic() + START_S
    while True:
        try:
            return Client(str(socket), "AF_UNIX")
        except (FileNotFoundError, ConnectionRefusedError):
            if not started:
                start()
                started = True
        if time.monotonic() > until:
            raise InputError(f"the training process did not start within {START_S:.0f} s")
        time.sleep(0.05)


def _start(socket: Path, owner: int) -> None:
    """Start a worker that stays when this process ends; its output joins the SuperNode's."""
    socket.unlink(missing_ok=True)
    command = [sys.executable, "-m", "finetune.flower.worker", str(socket), str(owner)]
    subprocess.Popen(command, stdin=subprocess.DEVNULL)
