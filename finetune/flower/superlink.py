"""The SuperLink: where it listens, who is let in, and how it is started.

On loopback it is open. For other machines it stays on loopback too, behind a gate
(`finetune.flower.gate`) that speaks TLS, and lets in devices whose keys it knows.
"""

import contextlib
import ipaddress
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from finetune.flower.processes import Processes, last_line
from finetune.flower.settings import toml
from solver.plan import InputError, write_bytes

__all__ = [
    "LINK",
    "SuperLink",
    "address_of",
    "free_port",
    "program",
    "start_link",
    "wait_for_port",
]

START_S = 90.0
POLL_S = 0.2
MOST_PORT = 65535
LINK = "legend"
CONFIG = """\
[superlink]
default = "{link}"
[superlink.{link}]
address = "127.0.0.1:{port}"
"""


class SuperLink(NamedTuple):
    """Where the devices are met, and for how long.

    Parameters
    ----------
    address : str
        ``HOST:PORT`` where the SuperLink waits for devices that are started elsewhere; empty
        starts them here, on loopback.
    tls : Path, optional
        Folder of ``server.crt`` and ``server.key``; the SuperLink then stays on loopback,
        behind `finetune.flower.gate`.
    node_keys : Path, optional
        Folder of the devices' public keys, ``*.pub``; then no other device is let in.
    wait_s : float
        Longest wait for the devices.
    deadline_slack : float, optional
        See `finetune.flower.engine.Deadline`; by default 1.5, and none for local devices, which
        keep no plan's times.
    """

    address: str = ""
    tls: Path | None = None
    node_keys: Path | None = None
    wait_s: float = 300.0
    deadline_slack: float | None = None


def address_of(link: SuperLink) -> tuple[str, int]:
    """Host and port of the SuperLink; refuses an open one."""
    if not link.address:
        return "127.0.0.1", free_port()
    host, _, port = link.address.rpartition(":")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > MOST_PORT:
        raise InputError(f"--superlink is '{link.address}'; expected HOST:PORT")
    if not _is_loopback(host) and not (link.tls and link.node_keys):
        raise InputError(
            f"--superlink {link.address} is open to other machines, so it needs TLS and "
            "the devices' keys: make them with python -m finetune.flower.keys, then add --tls "
            "and --node-keys (docs/flower.md)"
        )
    return host.strip("[]"), int(port)


def start_link(processes: Processes, link: SuperLink, host: str, port: int, home: Path) -> int:
    """Start the SuperLink, wait until it listens, and tell Flower's command line of it.

    Returns the port that it listens on: with TLS it stays on loopback, behind a gate.
    """
    inner = free_port() if link.tls else port
    command = [program("flower-superlink"), "--disable-runtime-dependency-installation"]
    command += ["--host", "127.0.0.1" if link.tls else host, "--port", str(inner)]
    command += ["--enable-supernode-auth"] if link.node_keys else []
    security, trust = _inner_tls(home / "tls") if link.tls else (["--insecure"], "")
    home.mkdir(parents=True, exist_ok=True)
    config = CONFIG.format(link=LINK, port=inner)
    config += f"root-certificates = {toml(trust)}\n" if trust else "insecure = true\n"
    write_bytes(home / "config.toml", config.encode())
    processes.start("superlink", [*command, *security])
    wait_for_port(processes, "superlink", inner)
    if link.node_keys:
        _let_in(processes, link.node_keys)
    if link.tls:
        names = ("server.crt", "server.key")
        files = [str(_file(link.tls / name, "--tls")) for name in names]
        ports = [host, str(port), str(inner)]
        processes.start_module("gate", "finetune.flower.gate", *ports, *files, trust)
    return inner


def wait_for_port(processes: Processes, name: str, port: int) -> None:
    """Wait until a program listens on loopback; raises `InputError` after `START_S`."""
    until = time.monotonic() + START_S
    while True:
        processes.require(name)
        here = ("127.0.0.1", port)
        with contextlib.suppress(OSError), socket.create_connection(here, timeout=1):
            return
        if time.monotonic() > until:
            raise InputError(
                f"the {name} does not listen on port {port} after {START_S:.0f} s; see "
                f"{processes.log(name)}"
            )
        time.sleep(POLL_S)


def free_port() -> int:
    """A port on loopback that nobody uses now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def program(name: str) -> str:
    """Path of a program of Flower's, beside this interpreter or on the path."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise InputError(
            f"this needs {name}, which is not installed; get it with: "
            "pip install 'legend-planner[flower]'"
        )
    return found


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return host == "localhost"


def _inner_tls(folder: Path) -> tuple[list[str], str]:
    """Certificates between gate and SuperLink, as that asks for TLS where it checks keys.

    Returns the SuperLink's options and the path of the certificate to trust.
    """
    from finetune.flower.keys import make_tls

    shutil.rmtree(folder, ignore_errors=True)
    ca, certificate, key = (str(path) for path in make_tls(folder, ["127.0.0.1"], days=365))
    files = ["--ssl-ca-certfile", ca, "--ssl-certfile", certificate, "--ssl-keyfile", key]
    return files, ca


def _file(path: Path, option: str) -> Path:
    if not path.is_file():
        raise InputError(
            f"{option}: {path} is missing; make it with python -m finetune.flower.keys"
        )
    return path.resolve()


def _let_in(processes: Processes, folder: Path) -> None:
    """Register the devices' public keys with the SuperLink."""
    keys = sorted(folder.glob("*.pub"))
    if not keys:
        raise InputError(
            f"--node-keys: {folder} holds no *.pub; make keys with python -m "
            "finetune.flower.keys"
        )
    for key in keys:
        command = [program("flwr"), "supernode", "register", str(key.resolve()), LINK]
        process = processes.start("register", command)
        if _wait(process, START_S) != 0:
            log = processes.log("register")
            raise InputError(f"{key}: cannot be registered ({last_line(log)}); see {log}")


def _wait(process: "subprocess.Popen[bytes]", seconds: float) -> int | None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(seconds)
    return None
