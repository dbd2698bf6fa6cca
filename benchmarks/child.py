"""Run a function in a fresh process, with its memory watched and a hard end.

What is measured in a process of its own owes nothing to what ran before it: no warm caches,
no memory that an allocator has kept. The function is named by module and name, its arguments
and result travel as JSON.
"""

import importlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT
from profiler.schema import InputError

__all__ = ["TimedOut", "in_child", "peak_rss_bytes", "restart_peak", "rss_bytes"]

STATUS = Path("/proc/self/status")
_MISSING = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")


class TimedOut(Exception):
    """The process was killed when its time was up."""


def in_child(
    function: Callable[..., Any],
    arguments: Mapping[str, object],
    *,
    timeout_s: float = 600.0,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """Call ``function(**arguments)`` in a new interpreter.

    Parameters
    ----------
    function : callable
        At the top level of its module; takes and returns what JSON can say.
    arguments : mapping
    timeout_s : float
        Wall clock; then the process and all it started are killed.
    environment : mapping of str to str, optional
        Added to this process's environment.

    Raises
    ------
    TimedOut
        If the time was up.
    ModuleNotFoundError
        If the process lacked a module, as without the extra that brings it.
    InputError
        If it failed otherwise; the message ends with its last line.
    """
    name = f"{function.__module__}:{function.__qualname__}"
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.child", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )
    try:
        out, err = process.communicate(json.dumps(dict(arguments)).encode(), timeout_s)
    except subprocess.TimeoutExpired:
        raise TimedOut(f"{name} took longer than {timeout_s:g} s") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode != 0:
        last = (err.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        if missing := _MISSING.fullmatch(last):
            raise ModuleNotFoundError(last, name=missing[1])
        raise InputError(f"{name} ended with code {process.returncode}: {last}")
    return json.loads(out.splitlines()[-1])


def rss_bytes() -> int:
    """Resident memory of this process now; Linux only."""
    return _status("VmRSS")


def peak_rss_bytes() -> int:
    """Largest resident memory since `restart_peak`, or since the start."""
    if STATUS.exists():
        return _status("VmHWM")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def restart_peak() -> None:
    """Count the peak from now on; Linux only."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError as error:
        raise InputError(f"the memory peak cannot be reset here ({error}); use Linux") from None


def _status(field: str) -> int:
    for line in STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise InputError(f"the system does not say {field}; use Linux")


def _serve() -> None:
    module, _, name = sys.argv[1].partition(":")
    function = getattr(importlib.import_module(module), name)
    # Libraries may print: keep stdout for the result.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    print(json.dumps(function(**json.load(sys.stdin))), file=out, flush=True)


if __name__ == "__main__":
    _serve()
