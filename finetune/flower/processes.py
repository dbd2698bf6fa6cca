"""Processes of a federation on this machine: all of them end with it, however it ends.

Flower's programs start programs of their own, some in sessions of their own. All inherit a
mark in their environment, and whoever has the mark is killed: when the federation is closed,
and by a guard where its starter is killed before that. ``python -m finetune.flower.processes
MARK`` is the guard.
"""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from uuid import uuid4

import psutil

from finetune.child import environment as child_environment
from finetune.child import module_command
from solver.plan import InputError

__all__ = ["Processes", "last_line"]

MARK = "LEGEND_FEDERATION"
KILL_S = 10.0
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Processes:
    """Starts programs with their output in log files, and ends all that came of them.

    Parameters
    ----------
    logs : Path
        Folder of the log files; a later start appends to them.
    environment : mapping of str to str
        Added to this process's environment.
    """

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs = logs
        self.mark = uuid4().hex
        # Flower starts programs of its own by name; they are beside this interpreter.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        self._environment = {**os.environ, "PATH": path, **environment}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Processes":
        self._logs.mkdir(parents=True, exist_ok=True)
        # Its input ends when this process does, in whatever way.
        self._guard = subprocess.Popen(
            module_command("finetune.flower.processes", self.mark),
            stdin=subprocess.PIPE,
            start_new_session=True,
            env=child_environment(),
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        kill_marked(self.mark)
        for process in self._running.values():
            process.wait()
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()

    def start(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a program; `name` is its log file's."""
        return self._start(name, command, self._environment)

    def start_module(self, name: str, module: str, *words: str) -> subprocess.Popen[bytes]:
        """Start a module of ours, whatever lies in the folder that the person is in."""
        found = {"PYTHONPATH": child_environment()["PYTHONPATH"]}
        return self._start(name, module_command(module, *words), self._environment | found)

    def _start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**environment, MARK: self.mark},
                start_new_session=True,
            )
        self._running[name] = process
        return process

    def log(self, name: str) -> Path:
        """Log file of a program."""
        return self._logs / f"{name}.log"

    def ended(self) -> list[str]:
        """Names of the programs that have ended."""
        return [name for name, p in self._running.items() if p.poll() is not None]

    def require(self, name: str) -> None:
        """Raise `InputError` if a program was started and has ended."""
        code = self._running[name].poll() if name in self._running else None
        if code is not None:
            log = self.log(name)
            raise InputError(f"{name} ended with code {code}: {last_line(log)}; see {log}")


def last_line(log: Path) -> str:
    """Last line of a log that says something."""
    with contextlib.suppress(OSError):
        text = COLOUR.sub("", log.read_text(encoding="utf-8", errors="replace"))
        lines = text.splitlines()
        said = [line.strip() for line in lines if any(c.isalnum() for c in line)]
        if said:
            return said[-1][:300]
    return "it said nothing"


def kill_marked(mark: str) -> None:
    """Kill every process of the mark, also those started meanwhile; bounded by `KILL_S`."""
    until = time.monotonic() + KILL_S
    while (found := list(_marked(mark))) and time.monotonic() < until:
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=0.2)


def _marked(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            alive = process.status() != psutil.STATUS_ZOMBIE
            if alive and process.environ().get(MARK) == mark:
                yield process


if __name__ == "__main__":
    sys.stdin.read()
    kill_marked(sys.argv[1])
