"""A link of known speed, made of two network namespaces and a token bucket at either end.

Needs root and iproute2; skipped elsewhere.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from profiler.network.file import read_network

ROOT = Path(__file__).resolve().parents[3]
# Payload of a full frame: 1500 bytes without IP and TCP headers (time stamps among them);
# the bucket also counts the Ethernet header.
PAYLOAD_FRACTION = 1448 / 1514
TOLERANCE = 0.03

SERVER = """
from profiler.network.server import Limits, serve
served = serve("10.99.0.2", 7433, Limits(lifetime_s=60), lambda *at: print("ready", flush=True))
assert served.measured
"""
CLIENT = """
import sys
from pathlib import Path
from profiler.network.client import Effort, measure_network
from profiler.schema import write
effort = Effort(pings=5, transfers=3, transfer_s=0.4)
write(Path(sys.argv[1]), measure_network("10.99.0.2:7433", effort))
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def inside(namespace: str, *words: str) -> list[str]:
    return ["ip", "netns", "exec", namespace, *words]


@pytest.fixture
def ends() -> Iterator[tuple[str, str]]:
    """Two namespaces of our own, joined by a cable."""
    if not shutil.which("ip") or not shutil.which("tc"):
        pytest.skip("shaping a link needs the commands ip and tc (package iproute2)")
    if os.geteuid() != 0:
        pytest.skip("shaping a link needs root")
    here, there = (f"legend-{os.getpid()}-{side}" for side in "ab")
    try:
        ip("netns", "add", here)
        ip("netns", "add", there)
        cable = f"link add va netns {here} type veth peer name vb netns {there}"
        ip(*cable.split())
        for namespace, device, address in (
            (here, "va", "10.99.0.1"),
            (there, "vb", "10.99.0.2"),
        ):
            ip("-n", namespace, "addr", "add", f"{address}/24", "dev", device)
            ip("-n", namespace, "link", "set", device, "up")
    except subprocess.CalledProcessError as error:
        _remove(here, there)
        pytest.skip(f"network namespaces cannot be made here: {error.stderr.decode().strip()}")
    yield here, there
    _remove(here, there)


def _remove(*namespaces: str) -> None:
    for namespace in namespaces:
        subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)


def shape(namespace: str, device: str, mbit_per_s: int) -> None:
    words = f"tc qdisc add dev {device} root tbf rate {mbit_per_s}mbit burst 8kb latency 100ms"
    done = subprocess.run(
        inside(namespace, *words.split()), check=False, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"tc cannot shape here: {done.stderr.strip()}")


@pytest.mark.parametrize(("up_mbit", "down_mbit"), [(1, 5), (5, 20), (20, 1)])
def test_a_shaped_link_is_measured_as_it_is(
    up_mbit: int, down_mbit: int, ends: tuple[str, str], tmp_path: Path
) -> None:
    here, there = ends
    shape(here, "va", up_mbit)
    shape(there, "vb", down_mbit)
    path = tmp_path / "net.json"
    with subprocess.Popen(
        inside(there, sys.executable, "-c", SERVER), cwd=ROOT, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        client = inside(here, sys.executable, "-c", CLIENT, str(path))
        subprocess.run(client, cwd=ROOT, check=True, timeout=60)
        assert server.wait(timeout=10) == 0
    made = read_network(path)
    for seen, mbit in (
        (made.uplink_bytes_per_s, up_mbit),
        (made.downlink_bytes_per_s, down_mbit),
    ):
        expected = mbit * 1e6 / 8 * PAYLOAD_FRACTION
        assert seen == pytest.approx(expected, rel=TOLERANCE)
