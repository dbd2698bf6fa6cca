"""Network namespaces: one for the server, one for each device, a shaped cable to each.

Every cable is a pair of virtual interfaces with a token bucket at either end, and a network
of two addresses of its own. No namespace has a way out, so no packet leaves the machine.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.testbed.devices import Spec
from benchmarks.testbed.made import Made, left_over, own_name
from profiler.schema import InputError

__all__ = ["Network", "can_shape", "server_address", "sweep"]

PREFIX = "lgtb"
NAMES = Path("/run/netns")
# Of the kernel's, not of ours: 15 characters at most.
CABLE = "d{index}"
UPLINK = "uplink"


def can_shape() -> str:
    """What is missing to make a network; empty if nothing is."""
    missing = [name for name in ("ip", "tc", "nsenter") if not shutil.which(name)]
    if missing:
        return f"the commands {', '.join(missing)} (packages iproute2 and util-linux)"
    return "" if os.geteuid() == 0 else "root"


def server_address(index: int) -> str:
    """The server's end of the cable to a device."""
    return f"10.213.{index}.1"


def device_address(index: int) -> str:
    """Address of a device."""
    return f"10.213.{index}.2"


def sweep() -> None:
    """Remove namespaces that a killed run has left: those whose process is gone."""
    for path in left_over(NAMES, PREFIX):
        _quiet("ip", "netns", "del", path.name)


class Network(Made):
    """The server's namespace and one for each device; a context manager.

    Parameters
    ----------
    devices : sequence of Spec
    """

    def __init__(self, devices: Sequence[Spec]) -> None:
        self._devices = devices
        self._made: list[str] = []
        self.server = own_name(PREFIX, "server")

    def namespace(self, device: Spec) -> str:
        """Name of a device's namespace."""
        return own_name(PREFIX, device.name)

    def make(self) -> None:
        """Make the namespaces and their cables."""
        sweep()
        self._namespace(self.server)
        for index, device in enumerate(self._devices):
            self._namespace(self.namespace(device))
            self._cable(index, device)

    def remove(self) -> None:
        """Remove the namespaces; their cables go with them."""
        for name in self._made:
            _quiet("ip", "netns", "del", name)
        self._made = []

    def _namespace(self, name: str) -> None:
        self._made.append(name)
        _do("ip", "netns", "add", name)
        _do("ip", "-n", name, "link", "set", "lo", "up")

    def _cable(self, index: int, device: Spec) -> None:
        here, there, end = self.server, self.namespace(device), CABLE.format(index=index)
        add = f"link add {end} netns {here} type veth peer name {UPLINK} netns {there}"
        _do("ip", *add.split())
        ends = ((here, end, server_address(index)), (there, UPLINK, device_address(index)))
        for namespace, interface, address in ends:
            # Without IPv6 the kernel sends nothing of its own accord, so counters count Flower.
            _quiet(
                "ip", "netns", "exec", namespace,
                "sysctl", "-qw", f"net.ipv6.conf.{interface}.disable_ipv6=1",
            )  # fmt: skip
            _do("ip", "-n", namespace, "addr", "add", f"{address}/30", "dev", interface)
            _do("ip", "-n", namespace, "link", "set", interface, "up")
            # The bucket lets a burst through unshaped, so it is small; the queue is long
            # enough to lose nothing, as a lost packet would be sent and counted twice.
            bucket = f"rate {device.mbit_per_s}mbit burst 16kb limit 4mb"
            words = f"qdisc add dev {interface} root tbf {bucket}"
            _do("tc", "-n", namespace, *words.split())

    def inside(self, namespace: str, command: Sequence[str]) -> list[str]:
        """Return a command that runs `command` in a namespace, with this process's mounts."""
        # `ip netns exec` would mount /sys anew and hide the control groups.
        return ["nsenter", f"--net={NAMES / namespace}", "--", *command]


def _do(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(
            f"'{' '.join(command)}' failed ({last}); the testbed needs a machine on which "
            "network namespaces can be made and shaped"
        )


def _quiet(*command: str) -> None:
    with contextlib.suppress(OSError):
        subprocess.run(command, check=False, capture_output=True)
