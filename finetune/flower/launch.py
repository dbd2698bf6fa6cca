"""A federation with one command: SuperLink, SuperNodes where they are local, and the run.

Everything it starts keeps its log in OUT/flower/logs and is gone when it returns, whatever
happens. The run itself is the ServerApp's (`finetune.flower.serverapp`).
"""

import contextlib
import ipaddress
import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from finetune.devices import participants
from finetune.flower.app import app_files
from finetune.flower.follow import follow
from finetune.flower.processes import Processes, last_line
from finetune.flower.settings import Settings
from finetune.flower.shares import write_shares
from finetune.flower.supported import check_supported
from finetune.folder import check_folder
from finetune.options import RunOptions
from finetune.progress import Progress
from finetune.result import Summary
from finetune.run import Sources
from solver.plan import InputError, Plan, read_plan, write_bytes

__all__ = ["ENVIRONMENT", "Federation", "launch", "wait_for_port"]

START_S = 90.0
POLL_S = 0.2
MOST_LOCAL = 16
LINK = "legend"
CONFIG = """\
[superlink]
default = "{link}"
[superlink.{link}]
address = "127.0.0.1:{port}"
"""
ENVIRONMENT = {
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.5",
    "HF_HUB_OFFLINE": "1",
    "PYTHONUNBUFFERED": "1",
}


class Federation(NamedTuple):
    """Where the devices are.

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


def launch(
    plan_path: Path,
    sources: Sources,
    out: Path,
    options: RunOptions,
    federation: Federation,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Run a plan on Flower, as `finetune.run.run` does in one process.

    Raises
    ------
    InputError
        If plan, model, data, options, folder or devices do not fit, or Flower fails.
    Stopped
        On Ctrl-C, with the checkpoint and the adapter so far kept.
    """
    progress = progress or Progress()
    plan = read_plan(plan_path)
    check_supported(plan, options)
    host, port = _address(federation)
    _check_count(plan, federation)
    if federation.node_keys and not federation.tls:
        raise InputError("--node-keys needs --tls, as Flower checks keys over TLS only; add it")
    check_folder(out, resume=resume)
    folder = out.resolve() / "flower"
    folder.mkdir(parents=True, exist_ok=True)
    settings = _settings(plan_path, sources, out, federation, resume=resume)
    for name, data in app_files(settings, options).items():
        (folder / "app" / name).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / "app" / name, data)
    environment = {**ENVIRONMENT, "FLWR_HOME": str(folder / "home")}
    with Processes(folder / "logs", environment) as processes, progress:
        inner = _start_link(processes, federation, host, port, folder / "home")
        if not federation.address:
            _start_nodes(processes, plan, sources, options, folder, inner)
        command = [_program("flwr"), "run", str(folder / "app"), LINK, "--stream"]
        return follow(processes, folder, command, options, progress)


def _settings(
    plan_path: Path, sources: Sources, out: Path, federation: Federation, *, resume: bool
) -> Settings:
    slack = federation.deadline_slack
    if slack is None:
        slack = 1.5 if federation.address else 0.0
    return Settings(
        plan=str(plan_path.resolve()),
        model=str(sources.model.resolve()),
        data=str(sources.data.resolve()),
        test_data=str(sources.test.resolve()) if sources.test else "",
        fleet=str(sources.fleet.resolve()) if sources.fleet else "",
        trace=str(sources.trace.resolve()) if sources.trace else "",
        out=str(out.resolve()),
        resume=resume,
        data_is="test" if federation.address else "all",
        wait_s=federation.wait_s,
        deadline_slack=slack,
    )


def _address(federation: Federation) -> tuple[str, int]:
    """Host and port of the SuperLink; refuses an open one."""
    if not federation.address:
        return "127.0.0.1", _free_port()
    host, _, port = federation.address.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"--superlink is '{federation.address}'; expected HOST:PORT")
    if not _is_loopback(host) and not (federation.tls and federation.node_keys):
        raise InputError(
            f"--superlink {federation.address} is open to other machines, so it needs TLS and "
            "the devices' keys: make them with python -m finetune.flower.keys, then add --tls "
            "and --node-keys (docs/flower.md)"
        )
    return host.strip("[]"), int(port)


def _check_count(plan: Plan, federation: Federation) -> None:
    """Refuse to start more SuperNodes here than a machine bears."""
    count = len(participants(plan))
    if not federation.address and count > MOST_LOCAL:
        raise InputError(
            f"{count} devices take part; a federation on this machine starts at most "
            f"{MOST_LOCAL} SuperNodes. Leave out --engine flower to simulate them, or plan for "
            "fewer"
        )


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return host == "localhost"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _program(name: str) -> str:
    """Path of a program of Flower's, beside this interpreter or on the path."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise InputError(
            f"this needs {name}, which is not installed; get it with: "
            "pip install 'legend-planner[flower]'"
        )
    return found


def _start_link(
    processes: Processes, federation: Federation, host: str, port: int, home: Path
) -> int:
    """Start the SuperLink, wait until it listens, and tell Flower's command line of it.

    Returns the port that it listens on: with TLS it stays on loopback, behind a gate.
    """
    inner = _free_port() if federation.tls else port
    command = [_program("flower-superlink"), "--disable-runtime-dependency-installation"]
    command += ["--host", "127.0.0.1" if federation.tls else host, "--port", str(inner)]
    command += ["--enable-supernode-auth"] if federation.node_keys else []
    security, trust = _inner_tls(home / "tls") if federation.tls else (["--insecure"], "")
    home.mkdir(parents=True, exist_ok=True)
    config = CONFIG.format(link=LINK, port=inner)
    config += f"root-certificates = {json.dumps(trust)}\n" if trust else "insecure = true\n"
    write_bytes(home / "config.toml", config.encode())
    processes.start("superlink", [*command, *security])
    wait_for_port(processes, "superlink", inner)
    if federation.node_keys:
        _let_in(processes, federation.node_keys)
    if federation.tls:
        names = ("server.crt", "server.key")
        files = [str(_file(federation.tls / name, "--tls")) for name in names]
        gate = [sys.executable, "-m", "finetune.flower.gate", host, str(port), str(inner)]
        processes.start("gate", [*gate, *files, trust])
    return inner


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


def _let_in(processes: Processes, folder: Path) -> None:
    """Register the devices' public keys with the SuperLink."""
    keys = sorted(folder.glob("*.pub"))
    if not keys:
        raise InputError(
            f"--node-keys: {folder} holds no *.pub; make keys with python -m "
            "finetune.flower.keys"
        )
    for key in keys:
        command = [_program("flwr"), "supernode", "register", str(key.resolve()), LINK]
        process = processes.start("register", command)
        if _wait(process, START_S) != 0:
            log = processes.log("register")
            raise InputError(f"{key}: cannot be registered ({last_line(log)}); see {log}")


def _start_nodes(
    processes: Processes,
    plan: Plan,
    sources: Sources,
    options: RunOptions,
    folder: Path,
    port: int,
) -> None:
    """Start a SuperNode for every device, each with its own file of examples."""
    files = write_shares(plan, sources.data, sources.test, options, folder / "data")
    for device in participants(plan):
        config = {
            "device": device.name,
            "model": str(sources.model.resolve()),
            "data": str(files[device.name]),
        }
        command = [_program("flower-supernode"), "--insecure"]
        command += ["--superlink", f"127.0.0.1:{port}", "--port", str(_free_port())]
        command += [
            "--node-config",
            " ".join(f"{k}={json.dumps(v)}" for k, v in config.items()),
        ]
        processes.start(f"supernode-{device.position:06d}", command)


def _wait(process: "subprocess.Popen[bytes]", seconds: float) -> int | None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(seconds)
    return None
