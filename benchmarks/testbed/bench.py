"""The testbed's own processes: commands in namespaces and cages, side by side."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.machine import ROOT
from benchmarks.testbed.cage import Cage
from benchmarks.testbed.devices import Spec
from benchmarks.testbed.network import Network
from finetune.child import module_command
from finetune.flower.processes import Processes, last_line
from profiler.schema import InputError

__all__ = ["ENVIRONMENT", "Bench", "legend_command", "wait_for"]

POLL_S = 0.1
ENVIRONMENT = {
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.5",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    # Flower starts programs of its own by name.
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    "PYTHONUNBUFFERED": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


class Bench:
    """Devices with their namespaces and cages, and a place for files.

    Parameters
    ----------
    network : Network
    cages : mapping of str to Cage
        Of the training of each device, by its name.
    devices : sequence of Spec
    model, data : Path
        Model folder and reviews.
    folder : Path
        Everything written goes there.
    """

    def __init__(
        self,
        network: Network,
        cages: Mapping[str, Cage],
        devices: Sequence[Spec],
        model: Path,
        data: Path,
        folder: Path,
    ) -> None:
        self.network = network
        self.cages = cages
        self.devices = devices
        self.model = model
        self.data = data
        self.folder = folder

    def processes(self, name: str) -> Processes:
        """Start programs with their logs in a folder of this name; all end with the block."""
        return Processes(self.folder / "logs" / name, ENVIRONMENT)

    def caged(self, device: Spec, command: Sequence[str]) -> list[str]:
        """Return a command that runs `command` on a device: in its namespace and its cage."""
        namespace = self.network.namespace(device)
        return self.cages[device.name].command(self.network.inside(namespace, command))

    def on_device(self, device: Spec, command: Sequence[str]) -> list[str]:
        """Return a command that runs `command` in a device's namespace, out of its cage."""
        return self.network.inside(self.network.namespace(device), command)

    def on_server(self, command: Sequence[str]) -> list[str]:
        """Return a command that runs `command` in the server's namespace."""
        return self.network.inside(self.network.server, command)


def legend_command(*words: object) -> list[str]:
    """Words of a `legend` command in this interpreter."""
    return module_command("legend", *map(str, words))


def wait_for(
    processes: Processes, running: Mapping[str, "subprocess.Popen[bytes]"], seconds: float
) -> None:
    """Wait until all have ended well; raises `InputError` for the first that has not."""
    until = time.monotonic() + seconds
    for name, process in running.items():
        try:
            code = process.wait(max(until - time.monotonic(), POLL_S))
        except subprocess.TimeoutExpired:
            raise InputError(f"{name} is not done after {seconds:.0f} s") from None
        if code:
            raise InputError(f"{name} ended with code {code}: {last_line(processes.log(name))}")
