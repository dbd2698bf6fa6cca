"""A device's resident process.

``python -m finetune.flower.worker SOCKET OWNER DEVICE MODEL DATA``

It keeps model and data in memory between the rounds, which Flower's processes of one message
each cannot. It ends with the process `OWNER`, the SuperNode's executor, so that stopping a
SuperNode stops it too.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from finetune.flower.orders import Order, decode, encode
from finetune.flower.resident import MAX_FRAME_BYTES, Reply
from solver.plan import InputError

if TYPE_CHECKING:
    from finetune.flower.node import Node

__all__ = ["main"]

POLL_S = 1.0


def main(socket: Path, owner: int, device: str, model: Path, data: Path) -> None:
    """Serve orders one after another until `owner` ends."""
    try:
        listener = Listener(str(socket), "AF_UNIX", backlog=16)
    except OSError:
        return  # another one has just been started
    # Ctrl-C is for the SuperNode; this process ends with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(owner, socket), daemon=True).start()
    # Only now: it takes seconds, while whoever asks already waits in the line.
    from finetune.flower.node import Node

    node = Node(device, model, data)
    with listener:
        while True:
            with listener.accept() as line, contextlib.suppress(EOFError, OSError):
                _serve(line, node)


def _serve(line: Connection, node: "Node") -> None:
    order = line.recv_bytes(MAX_FRAME_BYTES).decode()
    adapters = line.recv_bytes(MAX_FRAME_BYTES)
    try:
        report, trained = node.train(decode(order, Order), adapters)
    except InputError as error:
        line.send_bytes(msgspec.json.encode(Reply(error=str(error))))
    except Exception as error:
        traceback.print_exc()
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        line.send_bytes(msgspec.json.encode(Reply(error=reason)))
    else:
        line.send_bytes(msgspec.json.encode(Reply(report=encode(report))))
        line.send_bytes(trained)


def _end_with(owner: int, socket: Path) -> None:
    """Wait for a process to end, then end this one, even in the middle of training."""
    try:
        # A descriptor, not the number: numbers are given out again, and zombies keep theirs.
        select.select([os.pidfd_open(owner)], [], [])
    except (AttributeError, OSError):
        _wait_by_number(owner)
    socket.unlink(missing_ok=True)
    os._exit(0)


def _wait_by_number(owner: int) -> None:
    """Wait where the system has no process descriptors (before Linux 5.3)."""
    with contextlib.suppress(ProcessLookupError):
        while True:
            os.kill(owner, 0)
            time.sleep(POLL_S)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], *map(Path, sys.argv[4:6]))
