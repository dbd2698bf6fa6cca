"""The machine and the software that a figure belongs to."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.result import Machine

__all__ = ["ROOT", "describe", "load_average"]

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "legend-planner", "numpy", "scipy", "highspy", "pulp", "ortools", "torch", "transformers",
    "peft",
)  # fmt: skip


def describe(load_before: float) -> Machine:
    """Describe this machine, after a case has run."""
    return Machine(
        commit=_commit(),
        processor=_processor(),
        cores=_cores(),
        memory_bytes=_memory_bytes(),
        load_before=load_before,
        load_after=load_average(),
        versions={"python": platform.python_version(), **_versions()},
    )


def load_average() -> float:
    """Load average of the last minute; 0 where the system keeps none."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0


def _commit() -> str:
    """Short hash of the commit, with '+' where tracked files differ; 'unknown' without git."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        return commit + ("+" if _git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
