"""Measuring a link: both ends on the loopback interface, and peers that misbehave."""

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import pytest
from click.testing import CliRunner

from profiler.cli.profile import profile
from profiler.network import client
from profiler.network import server as far_end
from profiler.network.client import Effort, measure_network
from profiler.network.file import read_network
from profiler.network.protocol import HELLO, MOST_BYTES, REQUEST, parse_address, receive_exactly
from profiler.network.server import Limits, Served, serve
from profiler.schema import InputError

BRIEF = Effort(pings=3, transfers=2, transfer_s=0.01)


class Server:
    """A server in a thread."""

    def __init__(self, limits: Limits) -> None:
        self._result: SimpleQueue[Served] = SimpleQueue()
        self._address: SimpleQueue[tuple[str, int]] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(limits,))
        self._thread.start()
        self.host, self.port = self._address.get()

    def _run(self, limits: Limits) -> None:
        self._result.put(serve("127.0.0.1", 0, limits, lambda *at: self._address.put(at)))

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def result(self) -> Served:
        self._thread.join()
        return self._result.get()

    def connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=30)


def closed(connection: socket.socket) -> bool:
    """Whether the other end hangs up without another word."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_a_link_is_measured_and_the_server_ends() -> None:
    server = Server(Limits())
    made = measure_network(server.address, BRIEF)
    assert server.result() == Served(measured=True, moved_bytes=made.moved_bytes, turned_away=0)
    assert made.uplink_bytes_per_s > 1e6
    assert made.downlink_bytes_per_s > 1e6
    assert 0 < made.latency_s < 1
    assert made.peer == server.address


def test_strangers_do_not_end_the_server() -> None:
    server = Server(Limits())
    for greeting in (b"GET / HTTP/1.1\r\n\r\n", HELLO + b"nonsense!", b""):
        with server.connect() as stranger:
            stranger.sendall(greeting)
            # On a busy machine the server may have hung up already.
            with contextlib.suppress(OSError):
                stranger.shutdown(socket.SHUT_WR)
            assert receive_exactly(stranger, len(HELLO)) == HELLO
            assert closed(stranger)
    measure_network(server.address, BRIEF)
    assert server.result().turned_away == 3


@pytest.mark.parametrize("letter", [b"U", b"D", b"P"])
def test_nobody_gets_more_than_the_limit(letter: bytes) -> None:
    server = Server(Limits(lifetime_s=0.5))
    with server.connect() as greedy:
        greedy.sendall(HELLO + REQUEST.pack(letter, MOST_BYTES + 1))
        assert receive_exactly(greedy, len(HELLO)) == HELLO
        assert closed(greedy)
    assert not server.result().measured


def test_many_transfers_together_are_limited_too() -> None:
    server = Server(Limits(lifetime_s=5, client_bytes=100))
    with server.connect() as greedy:
        greedy.sendall(HELLO)
        assert receive_exactly(greedy, len(HELLO)) == HELLO
        greedy.sendall(REQUEST.pack(b"D", 60))
        assert len(receive_exactly(greedy, 60)) == 60
        greedy.sendall(REQUEST.pack(b"D", 60))
        assert closed(greedy)
    with server.connect() as last:
        last.sendall(HELLO + REQUEST.pack(b"P", 1) + REQUEST.pack(b"Q", 0))
        assert receive_exactly(last, len(HELLO) + 1) == HELLO + b"\0"
    assert server.result() == Served(measured=True, moved_bytes=1, turned_away=1)


def test_a_silent_client_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(far_end, "GREETING_S", 0.05)
    server = Server(Limits())
    with server.connect() as silent:
        assert receive_exactly(silent, len(HELLO)) == HELLO
        assert closed(silent)
    measure_network(server.address, BRIEF)
    assert server.result().turned_away == 1


def test_a_server_that_nobody_calls_ends() -> None:
    assert not Server(Limits(lifetime_s=0.05)).result().measured


def test_an_address_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            InputError, match=f"cannot listen at 127.0.0.1 port {port}"
        ) as raised:
            serve("127.0.0.1", port)
        assert "\n" not in str(raised.value)


@contextmanager
def peer(answer: bytes, *, hang_up: bool = True) -> Iterator[str]:
    """Something else than our server: says `answer` to whoever comes."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(answer)
                receive_exactly(connection, len(HELLO))
                if not hang_up:
                    done.wait()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            done.set()
            thread.join()


def test_something_else_that_answers_is_named() -> None:
    banner = b"SSH-2.0-OpenSSH_9.7 something\r\n"
    with peer(banner) as address, pytest.raises(InputError, match="something else answers"):
        measure_network(address, BRIEF)
    with peer(b"") as address, pytest.raises(InputError, match="something else answers"):
        measure_network(address, BRIEF)


def test_a_server_that_hangs_up_is_one_line() -> None:
    with (
        peer(HELLO) as address,
        pytest.raises(InputError, match="the connection broke") as raised,
    ):
        measure_network(address, BRIEF)
    assert "\n" not in str(raised.value)


def test_a_silent_peer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "IDLE_S", 0.05)
    with (
        peer(b"", hang_up=False) as address,
        pytest.raises(InputError, match="no answer within"),
    ):
        measure_network(address, BRIEF)


def test_a_closed_port_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    result = CliRunner().invoke(profile, ["--network", f"127.0.0.1:{port}"])
    assert isinstance(result.exception, InputError)
    assert "connection refused; start 'legend profile --serve" in str(result.exception)
    assert "\n" not in str(result.exception)


@pytest.mark.parametrize("host", ["..", "a" * 70])
def test_what_cannot_be_a_host_is_one_line(host: str) -> None:
    with pytest.raises(InputError, match=r": cannot be the name of a host; start") as raised:
        measure_network(f"{host}:80", BRIEF)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1:80", ("10.0.0.1", 80)),
        (":5000", ("127.0.0.1", 5000)),
        ("server.local", ("server.local", 7433)),
        ("[::1]:9", ("::1", 9)),
        ("[::1]", ("::1", 7433)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["host:", "host:port", "host:65536", "::1:80", "host:-1"])
def test_bad_addresses_are_one_line(text: str) -> None:
    with pytest.raises(InputError, match="expected HOST:PORT") as raised:
        parse_address(text)
    assert "\n" not in str(raised.value)


def test_requests_have_one_size_everywhere() -> None:
    assert REQUEST.size == 9
    assert REQUEST.pack(b"U", 258) == b"U" + struct.pack(">Q", 258)


def test_the_commands_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FULL", BRIEF)
    server, path = Server(Limits()), tmp_path / "net.json"
    arguments = ["--network", server.address, "--json", "-o", str(path)]
    result = CliRunner().invoke(profile, arguments)
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    made = read_network(path)
    assert server.result().measured
    assert figures["uplink_bytes_per_s"] == made.uplink_bytes_per_s
    assert figures["downlink_bytes_per_s"] == made.downlink_bytes_per_s
    assert figures["latency_s"] == made.latency_s


def test_serve_takes_no_output(tmp_path: Path) -> None:
    result = CliRunner().invoke(profile, ["--serve", "-o", str(tmp_path / "x.json")])
    assert isinstance(result.exception, InputError)
    assert "--serve writes nothing" in str(result.exception)
