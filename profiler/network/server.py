"""The far end of a network measurement: receives and sends bytes that mean nothing.

It serves one client at a time, keeps nothing it receives, limits what a client may take in
bytes and seconds, and ends after one whole measurement or when its time is over.
"""

import contextlib
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from profiler.network.protocol import (
    CHUNK_BYTES,
    DOWNLOAD,
    HELLO,
    IDLE_S,
    MOST_BYTES,
    PING,
    QUIT,
    REQUEST,
    UPLOAD,
    chunks,
    receive_exactly,
)
from profiler.schema import InputError

__all__ = ["Limits", "Served", "serve"]

GREETING_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a server gives away.

    Attributes
    ----------
    lifetime_s : float
        It ends after so long, whatever happens.
    client_s, client_bytes : float, int
        A client that takes longer or moves more is cut off.
    """

    lifetime_s: float = 600.0
    client_s: float = 180.0
    client_bytes: int = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a server did.

    Attributes
    ----------
    measured : bool
        Whether a client measured to the end.
    moved_bytes : int
        Sent and received in that measurement.
    turned_away : int
        Connections that did not speak the protocol or broke it.
    """

    measured: bool
    moved_bytes: int
    turned_away: int


def serve(
    host: str,
    port: int,
    limits: Limits = Limits(),
    ready: Callable[[str, int], None] = lambda host, port: None,
) -> Served:
    """Answer one measurement, then end.

    Parameters
    ----------
    host : str
        Address to listen at; only who can reach it can connect.
    port : int
        Port; 0 for any free one.
    limits : Limits
        What it gives away.
    ready : callable
        Told address and port once connections are taken.

    Raises
    ------
    InputError
        If the address cannot be listened at.
    """
    end = time.monotonic() + limits.lifetime_s
    turned_away = 0
    with _listen(host, port) as listener:
        ready(*listener.getsockname()[:2])
        while (left := end - time.monotonic()) > 0:
            listener.settimeout(left)
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                break
            client = _Client(connection, limits, end)
            if client.serve():
                return Served(
                    measured=True, moved_bytes=client.moved_bytes, turned_away=turned_away
                )
            turned_away += 1
    return Served(measured=False, moved_bytes=0, turned_away=turned_away)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1)
    except OSError as error:
        listener.close()
        raise InputError(
            f"cannot listen at {host} port {port} ({error.strerror}); choose another HOST:PORT"
        ) from None
    return listener


class _Overdrawn(Exception):
    """A client wants more than it may have."""


class _Client:
    """One connection."""

    def __init__(self, connection: socket.socket, limits: Limits, end: float) -> None:
        self._connection = connection
        self._limits = limits
        self._end = min(end, time.monotonic() + limits.client_s)
        self._payload = os.urandom(CHUNK_BYTES)
        self._waste = bytearray(CHUNK_BYTES)
        self.moved_bytes = 0

    def serve(self) -> bool:
        """Answer requests; True if the client measured to the end."""
        with self._connection, contextlib.suppress(OSError, _Overdrawn):
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._hurry(GREETING_S)
            self._connection.sendall(HELLO)
            if receive_exactly(self._connection, len(HELLO)) == HELLO:
                return self._answer_all()
        return False

    def _answer_all(self) -> bool:
        while True:
            self._hurry()
            letter, size = REQUEST.unpack(receive_exactly(self._connection, REQUEST.size))
            if letter == QUIT:
                return self.moved_bytes > 0
            self._charge(size)
            if letter == UPLOAD:
                self._discard(size)
            elif letter == DOWNLOAD:
                self._send(size)
            elif letter != PING:
                return False
            if letter != DOWNLOAD:
                self._connection.sendall(b"\0")

    def _charge(self, size: int) -> None:
        self.moved_bytes += size
        if size > MOST_BYTES or self.moved_bytes > self._limits.client_bytes:
            raise _Overdrawn

    def _discard(self, size: int) -> None:
        left = size
        while left:
            self._hurry()
            received = self._connection.recv_into(self._waste, min(left, CHUNK_BYTES))
            if not received:
                raise ConnectionError
            left -= received

    def _send(self, size: int) -> None:
        for piece in chunks(size):
            self._hurry()
            self._connection.sendall(memoryview(self._payload)[:piece])

    def _hurry(self, idle_s: float = IDLE_S) -> None:
        """Wait no longer than this for the client's next move, nor past its time."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise _Overdrawn
        self._connection.settimeout(min(idle_s, left))
