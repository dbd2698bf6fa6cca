"""The line between a ClientApp's process, which serves one message, and a device's worker.

The worker listens on a Unix socket in a folder that only its user may enter. Messages are
framed bytes: JSON, then adapters. Nothing is unpickled.
"""

import hashlib
import os
import stat
import subprocess
import tempfile
import time
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from finetune.child import environment, module_command
from solver.plan import InputError

__all__ = ["MAX_FRAME_BYTES", "Device", "Reply", "ask", "private_folder", "warm_up"]

MAX_FRAME_BYTES = 1 << 32
START_S = 120.0
REFUSED_MOST = 20


class Device(NamedTuple):
    """Whose worker it is: a device, its model folder and its file of examples."""

    name: str
    model: str
    data: str


class Reply(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A report, followed by the adapters; or an error, followed by nothing."""

    report: str = ""
    error: str = ""


def ask(device: Device, order: str, adapters: bytes, owner: int) -> tuple[str, bytes]:
    """Let the worker of this device train; start one where none is.

    Parameters
    ----------
    device : Device
    order, adapters : str, bytes
        As the server sent them.
    owner : int
        Process that the worker must not outlive.

    Raises
    ------
    InputError
        If the order cannot be carried out.
    """
    with _connect(device, owner) as line:
        line.send_bytes(order.encode())
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


def warm_up(device: Device, owner: int) -> None:
    """Start the worker of a device, so that it is there when the first order comes."""
    _connect(device, owner).close()


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


def _socket(device: Device, owner: int) -> Path:
    text = "\n".join((str(owner), *device))
    return private_folder() / hashlib.sha256(text.encode()).hexdigest()[:24]


def _connect(device: Device, owner: int) -> Connection:
    """Connect to the worker, starting it if need be; raises `InputError` after `START_S`."""
    socket = _socket(device, owner)
    started, refused, until = False, 0, time.monotonic() + START_S
    while True:
        try:
            return Client(str(socket), "AF_UNIX")
        except FileNotFoundError:
            if not started:
                _start(socket, device, owner)
                started = True
        except ConnectionRefusedError:
            # Its worker has died, or is just about to listen.
            refused += 1
            if refused == REFUSED_MOST:
                socket.unlink(missing_ok=True)
        if time.monotonic() > until:
            raise InputError(f"the training process did not start within {START_S:.0f} s")
        time.sleep(0.05)


def _start(socket: Path, device: Device, owner: int) -> None:
    """Start a worker that stays when this process ends; its output joins the SuperNode's."""
    command = module_command("finetune.flower.worker", str(socket), str(owner), *device)
    subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment())
