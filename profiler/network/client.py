"""Measure uplink, downlink and latency to a server (`profiler.network.server`).

The figures are those of payload, as an upload of adapters sees them: headers and what the
link loses to them are not counted, so that a link of 5 Mb/s gives about 4.8.
"""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from profiler.network.file import Network
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
    parse_address,
    receive_exactly,
)
from profiler.schema import InputError, Origin, provenance

__all__ = ["FULL", "Effort", "measure_network"]

CONNECT_S = 10.0
FIRST_BYTES = 2**15


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How thoroughly to measure.

    Attributes
    ----------
    pings : int
        Small messages.
    transfers : int
        Timed transfers each way.
    transfer_s : float
        About how long a transfer takes; half of it ends the warm-up.
    """

    pings: int = 20
    transfers: int = 5
    transfer_s: float = 1.0


FULL = Effort()


def measure_network(address: str, effort: Effort = FULL) -> Network:
    """Measure the link to a server that runs ``legend profile --serve``.

    Parameters
    ----------
    address : str
        ``HOST:PORT`` of the server.
    effort : Effort
        How thoroughly.

    Raises
    ------
    InputError
        If there is no server, something else answers, or the link breaks or stalls.
    """
    host, port = parse_address(address)
    with _connect(host, port) as connection:
        try:
            return _measure(connection, f"{host}:{port}", effort)
        except TimeoutError:
            raise InputError(
                f"{address}: no answer within {IDLE_S:.0f} s; the server may be busy with "
                "another client, or the link too slow"
            ) from None
        except OSError as error:
            why = error.strerror or str(error)
            raise InputError(
                f"{address}: the connection broke ({why}); start 'legend profile --serve' "
                "there and try again"
            ) from None


def _connect(host: str, port: int) -> socket.socket:
    try:
        return socket.create_connection((host, port), timeout=CONNECT_S)
    except TimeoutError:
        why = f"no answer within {CONNECT_S:.0f} s"
    except UnicodeError:  # an empty part, or one of more than 63 letters
        why = "cannot be the name of a host"
    except OSError as error:
        why = (error.strerror or str(error)).lower()
    raise InputError(
        f"{host}:{port}: {why}; start 'legend profile --serve HOST:PORT' there and check the "
        "address and the firewall"
    )


def _measure(connection: socket.socket, peer: str, effort: Effort) -> Network:
    link = _Link(connection)
    link.greet(peer)
    trips = np.array([link.ping() for _ in range(effort.pings)])
    latency_s = float(np.median(trips))
    up, down = (
        _rates(transfer, latency_s, effort) for transfer in (link.upload, link.download)
    )
    link.quit()
    low, high = np.quantile(trips, (0.25, 0.75))
    return Network(
        provenance=provenance(
            options={"transfers": str(effort.transfers), "pings": str(effort.pings)},
            origins={
                "network": Origin(
                    kind="measured",
                    source="payload over one warm TCP connection, less one round trip; "
                    "median of transfers",
                )
            },
        ),
        peer=peer,
        uplink_bytes_per_s=float(np.median(up)),
        downlink_bytes_per_s=float(np.median(down)),
        latency_s=latency_s,
        uplink_spread_fraction=_spread(up),
        downlink_spread_fraction=_spread(down),
        latency_spread_s=float(high - low) / 2,
        moved_bytes=link.moved_bytes,
    )


def _rates(transfer: Callable[[int], float], latency_s: float, effort: Effort) -> list[float]:
    """Bytes a second of several transfers, after larger and larger ones as warm-up."""

    def rate(size: int) -> float:
        elapsed_s = transfer(size)
        return size / max(elapsed_s - latency_s, elapsed_s / 10)

    size = FIRST_BYTES
    while (reached := rate(size)) * effort.transfer_s / 2 > size and size < MOST_BYTES:
        size = min(4 * size, MOST_BYTES)
    size = int(min(max(reached * effort.transfer_s, FIRST_BYTES), MOST_BYTES))
    return [rate(size) for _ in range(effort.transfers)]


def _spread(rates: list[float]) -> float:
    return (max(rates) - min(rates)) / 2 / float(np.median(rates))


class _Link:
    """The client's end of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(IDLE_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        # Random, so that no link makes it smaller.
        self._payload = os.urandom(CHUNK_BYTES)
        self._waste = bytearray(CHUNK_BYTES)
        self.moved_bytes = 0

    def greet(self, peer: str) -> None:
        """Make sure that the other end speaks the protocol."""
        self._connection.sendall(HELLO)
        try:
            heard = receive_exactly(self._connection, len(HELLO))
        except ConnectionError:
            heard = b""
        if heard != HELLO:
            raise InputError(
                f"{peer}: something else answers there; expected 'legend profile --serve'"
            )

    def ping(self) -> float:
        """Seconds of a round trip."""
        start = time.perf_counter()
        self._request(PING, 0)
        receive_exactly(self._connection, 1)
        return time.perf_counter() - start

    def upload(self, size: int) -> float:
        """Seconds until the server has `size` bytes and this end knows."""
        start = time.perf_counter()
        self._request(UPLOAD, size)
        for piece in chunks(size):
            self._connection.sendall(memoryview(self._payload)[:piece])
        receive_exactly(self._connection, 1)
        return time.perf_counter() - start

    def download(self, size: int) -> float:
        """Seconds from asking for `size` bytes to having them."""
        start = time.perf_counter()
        self._request(DOWNLOAD, size)
        left = size
        while left:
            received = self._connection.recv_into(self._waste, min(left, CHUNK_BYTES))
            if not received:
                raise ConnectionError("the server hung up")
            left -= received
        return time.perf_counter() - start

    def quit(self) -> None:
        """Say that all is measured."""
        self._request(QUIT, 0)

    def _request(self, letter: bytes, size: int) -> None:
        self.moved_bytes += size
        self._connection.sendall(REQUEST.pack(letter, size))
