"""How much of its processors a process may use: the CPU quota of its control groups."""

import math
from collections.abc import Callable
from pathlib import Path

__all__ = ["quota_cores"]

MOUNT = Path("/sys/fs/cgroup")
GROUPS = Path("/proc/self/cgroup")


def quota_cores(mount: Path = MOUNT, groups: Path = GROUPS) -> float:
    """Smallest CPU quota that holds for this process, in cores; infinite if there is none.

    Linux control groups of both versions are read, from the process's own group up to the
    mounted root, which in a container is the container's own group.

    Parameters
    ----------
    mount : Path
        Where control groups are mounted.
    groups : Path
        The list of this process's groups.
    """
    try:
        lines = groups.read_text("utf-8").splitlines()
    except OSError:
        return math.inf
    found = [math.inf]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            found += _upwards(mount, path, _version_2)
        elif "cpu" in controllers.split(","):
            found += _upwards(mount / controllers, path, _version_1)
    return min(found)


def _upwards(root: Path, path: str, read: Callable[[Path], float]) -> list[float]:
    """Quotas of a group and of all groups around it."""
    group = root / path.strip("/")
    around = [p for p in group.parents if p == root or root in p.parents]
    return [read(folder) for folder in (group, *around)]


def _version_1(group: Path) -> float:
    quota_us, period_us = (
        _number(group / "cpu.cfs_quota_us"),
        _number(group / "cpu.cfs_period_us"),
    )
    return quota_us / period_us if quota_us > 0 and period_us > 0 else math.inf


def _version_2(group: Path) -> float:
    words = _text(group / "cpu.max").split()
    if len(words) == 2 and all(word.isdecimal() for word in words):
        return int(words[0]) / int(words[1])
    return math.inf


def _number(path: Path) -> int:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else 0


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""
