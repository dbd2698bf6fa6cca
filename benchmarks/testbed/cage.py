"""A cage: a control group that limits a process's processor time and memory.

Linux control groups of version 1 and 2; what is made is removed when the cage is left.
"""

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.testbed.made import Made, left_over
from profiler.schema import InputError

__all__ = ["PREFIX", "Cage", "groups_fit", "sweep"]

MOUNT = Path("/sys/fs/cgroup")
PREFIX = "legend"
PERIOD_US = 100_000
REMOVE_S = 5.0
# Joins the groups, then becomes the command: nothing of it ever runs outside.
ENTER = (
    'n=$1; shift; while [ "$n" -gt 0 ]; do echo $$ > "$1" || exit 70; shift; n=$((n-1)); done'
)
ENTER += '; exec "$@"'


def groups_fit(mount: Path = MOUNT) -> bool:
    """Whether this system has control groups that this module can use."""
    return _unified(mount) or all((mount / name).is_dir() for name in ("cpu", "memory"))


def sweep(mount: Path = MOUNT) -> None:
    """Remove groups that a killed run has left: those whose process is gone."""
    for parent in (mount, mount / "cpu", mount / "memory"):
        for folder in left_over(parent, PREFIX):
            _kill(folder)
            with contextlib.suppress(OSError):
                folder.rmdir()


def _unified(mount: Path) -> bool:
    return (mount / "cgroup.controllers").exists()


class Cage(Made):
    """A control group of its own; a context manager.

    Parameters
    ----------
    name : str
        Of the group, unique on the machine.
    quota_cores : float, optional
        Processor time a second of wall clock; None leaves it free.
    mount : Path
        Where control groups are mounted.
    """

    def __init__(
        self,
        name: str,
        *,
        quota_cores: float | None = None,
        mount: Path = MOUNT,
    ) -> None:
        self._quota_cores = quota_cores
        self._unified = _unified(mount)
        self._mount = mount
        if self._unified:
            self._cpu = self._memory = mount / name
        else:
            self._cpu, self._memory = mount / "cpu" / name, mount / "memory" / name

    def make(self) -> None:
        """Make the groups and limit them."""
        try:
            self._make()
        except OSError as error:
            raise InputError(
                f"no control group can be made here ({error.strerror}: {error.filename}); "
                "run as root, outside of a container that forbids it"
            ) from None

    def _make(self) -> None:
        if self._unified:
            control = self._mount / "cgroup.subtree_control"
            control.write_text("+cpu +memory", encoding="ascii")
        for folder in self._folders:
            folder.mkdir()
        if self._quota_cores is not None:
            quota_us = round(self._quota_cores * PERIOD_US)
            if self._unified:
                self._set(self._cpu / "cpu.max", f"{quota_us} {PERIOD_US}")
            else:
                self._set(self._cpu / "cpu.cfs_period_us", str(PERIOD_US))
                self._set(self._cpu / "cpu.cfs_quota_us", str(quota_us))

    def limit_memory(self, limit_bytes: int) -> None:
        """Charge the group for so much at most from now on; beyond it the kernel kills."""
        name = "memory.max" if self._unified else "memory.limit_in_bytes"
        self._set(self._memory / name, str(limit_bytes))
        if self._unified:
            self._set(self._memory / "memory.swap.max", "0")

    @staticmethod
    def _set(path: Path, text: str) -> None:
        path.write_text(text, encoding="ascii")

    @property
    def _folders(self) -> list[Path]:
        return list(dict.fromkeys((self._cpu, self._memory)))

    def command(self, command: Sequence[str]) -> list[str]:
        """Return a command that runs `command` in the cage from its first instruction."""
        lists = [str(folder / "cgroup.procs") for folder in self._folders]
        return ["sh", "-c", ENTER, "cage", str(len(lists)), *lists, *command]

    def take(self, pid: int) -> None:
        """Move a running process into the cage; its memory so far is charged elsewhere."""
        for folder in self._folders:
            self._set(folder / "cgroup.procs", str(pid))

    def kills(self) -> int:
        """Processes of the cage that the kernel has killed for lack of memory."""
        name = "memory.events" if self._unified else "memory.oom_control"
        words = (self._memory / name).read_text("ascii").split()
        return int(words[words.index("oom_kill") + 1])

    def charged_bytes(self) -> int:
        """Memory that cannot be taken back from the cage's processes now: no file caches."""
        words = (self._memory / "memory.stat").read_text("ascii").split()
        return int(words[words.index("anon" if self._unified else "rss") + 1])

    def remove(self) -> None:
        """Remove the group, killing what still runs in it."""
        until = time.monotonic() + REMOVE_S
        while (left := [f for f in self._folders if f.exists()]) and time.monotonic() < until:
            for folder in left:
                _kill(folder)
                with contextlib.suppress(OSError):
                    folder.rmdir()
            if any(folder.exists() for folder in left):
                time.sleep(0.05)


def _kill(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for pid in (folder / "cgroup.procs").read_text("ascii").split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
