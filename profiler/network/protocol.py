"""What the two ends of a network measurement say to each other.

One TCP connection. Both ends first send `HELLO`. Then the client sends requests, each a
letter and a size, and the server answers:

======  =====================================  =========================
letter  client                                 server
======  =====================================  =========================
``P``   request (size 0)                       one byte
``U``   request, then that many bytes          one byte, once it has all
``D``   request                                that many bytes
``Q``   request (size 0), then hangs up        stops
======  =====================================  =========================

Contents are never looked at.
"""

import socket
import struct
from collections.abc import Iterator

from profiler.schema import InputError

__all__ = [
    "CHUNK_BYTES",
    "DEFAULT_ADDRESS",
    "DOWNLOAD",
    "HELLO",
    "IDLE_S",
    "MOST_BYTES",
    "PING",
    "QUIT",
    "REQUEST",
    "UPLOAD",
    "chunks",
    "parse_address",
    "receive_exactly",
]

HELLO = b"LEGEND/network/1\n"
REQUEST = struct.Struct("!cQ")
PING, UPLOAD, DOWNLOAD, QUIT = b"P", b"U", b"D", b"Q"

DEFAULT_PORT = 7433
DEFAULT_ADDRESS = f"127.0.0.1:{DEFAULT_PORT}"
CHUNK_BYTES = 2**15
# Largest single transfer.
MOST_BYTES = 2**26
# An end that hears nothing for so long gives up.
IDLE_S = 15.0


def parse_address(text: str) -> tuple[str, int]:
    """Split ``HOST:PORT``, ``HOST`` or ``:PORT``; IPv6 hosts stand in brackets.

    Raises
    ------
    InputError
        If it is none of these.
    """
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(DEFAULT_PORT)
    bare = host.removeprefix("[").removesuffix("]")
    bracketed = host.startswith("[") and host.endswith("]")
    good = port.isascii() and port.isdecimal() and int(port) < 2**16
    if not good or (":" in bare and not bracketed):
        raise InputError(
            f"address '{text}': expected HOST:PORT, such as {DEFAULT_ADDRESS} "
            f"or [::1]:{DEFAULT_PORT}"
        )
    return bare or "127.0.0.1", int(port)


def receive_exactly(connection: socket.socket, size: int) -> bytes:
    """Receive `size` bytes; raises ConnectionError if the other end hangs up before."""
    received = bytearray()
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise ConnectionError("the other end hung up")
        received += part
    return bytes(received)


def chunks(size: int) -> Iterator[int]:
    """Sizes of the pieces that a transfer is sent in."""
    while size > 0:
        yield min(size, CHUNK_BYTES)
        size -= CHUNK_BYTES
