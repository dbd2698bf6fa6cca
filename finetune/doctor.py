"""What of `legend` works on this machine, and what adds the rest.

Packages are those that the installed distribution itself asks for, so nothing is listed twice.
Solvers are asked a small question; of everything else it is looked up whether it is there,
without loading torch unless it is installed.
"""

import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from msgspec import Struct

__all__ = ["Finding", "examine"]

DISTRIBUTION = "legend-planner"
State = Literal["ok", "missing", "broken", "absent"]
Asked = dict[str, tuple[str, str]]

# The extra whose command is shown for a package that several extras bring: the smallest.
EXTRAS = ("run", "flower", "all", "bench")
NET_ADMIN, SYS_ADMIN = 12, 21
CONTROL_GROUPS = Path("/sys/fs/cgroup")


class Finding(Struct, frozen=True, kw_only=True):
    """One thing looked at.

    Attributes
    ----------
    name : str
    state : {'ok', 'missing', 'broken', 'absent'}
        `missing` can be added by `remedy`; `absent` is a machine's own (no GPU) and no fault.
    seen : str
        Version, or what was found.
    needed_for : str
    remedy : str
        The command that mends it; empty where none is needed.
    """

    name: str
    state: State
    seen: str
    needed_for: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at Python, packages, solvers, the machine and its folders, in this order."""
    return [_python(), *_packages(), _highs(), _cbc(), _gpu(), *_limits(), _cache()]


def _python() -> Finding:
    fits = sys.version_info >= (3, 11)
    return Finding(
        name="Python",
        state="ok" if fits else "broken",
        seen=platform.python_version(),
        needed_for="everything",
        remedy="" if fits else "install Python 3.11 or later",
    )


def _packages() -> Iterator[Finding]:
    for name, (least, extra) in _asked_for().items():
        seen = _version(name)
        old = seen is not None and _numbers(seen) < _numbers(least)
        wanted = f"'{DISTRIBUTION}[{extra}]'" if extra else DISTRIBUTION
        yield Finding(
            name=name,
            state="missing" if seen is None else "broken" if old else "ok",
            seen=f"{seen or 'nothing'}; expected {least} or later" if old or not seen else seen,
            needed_for=_purpose(extra),
            remedy="" if seen and not old else f"pip install --upgrade {wanted}",
        )


def _purpose(extra: str) -> str:
    return {
        "": "planning",
        "run": "profile, run, report, export of an adapter",
        "flower": "running under Flower",
        "all": "Parquet files",
        "bench": "the benchmark cases",
    }.get(extra, f"extra '{extra}'")


def _asked_for() -> Asked:
    """Least version and extra of each package, as the distribution asks for them."""
    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return {DISTRIBUTION: ("", "")}
    found: Asked = {}
    for extra in ("", *EXTRAS):
        for line in lines:
            requirement, _, marker = line.partition(";")
            of = re.search(r"extra == ['\"]([\w-]+)['\"]", marker)
            name = re.match(r"[A-Za-z0-9_.-]+", requirement)
            if name is None or name[0] in found or (of[1] if of else "") != extra:
                continue
            least = re.search(r">=\s*([\d.]+)", requirement)
            found[name[0]] = (least[1] if least else "", extra)
    found.pop(DISTRIBUTION, None)
    return found


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", version.split("+")[0])[:3])


def _works(name: str, solve: Callable[[], float]) -> Finding:
    """Have a solver maximise x + y over x + 2 y <= 3 in whole numbers up to 2: 2."""
    try:
        value = solve()
        fits, seen = abs(value - 2) < 1e-6, f"solves (answer {value:g}, expected 2)"
    except Exception as error:  # whatever a broken installation raises is the finding
        fits, seen = False, f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return Finding(
        name=f"{name} (MILP)",
        state="ok" if fits else "broken",
        seen=seen,
        needed_for="legend solve --method milp",
        remedy="" if fits else f"pip install --upgrade --force-reinstall {DISTRIBUTION}",
    )


def _highs() -> Finding:
    def solve() -> float:
        import highspy

        class Silent(highspy.Highs):  # type: ignore[misc]
            # Where callbacks are enabled, highspy 1.16 prints a banner.
            def enableCallbacks(self) -> None:
                self.setOptionValue("output_flag", False)
                super().enableCallbacks()

        model = Silent()
        x, y = (model.addIntegral(lb=0, ub=2) for _ in range(2))
        model.addConstr(x + 2 * y <= 3)
        model.maximize(x + y)
        return float(model.getObjectiveValue())

    return _works("HiGHS", solve)


def _cbc() -> Finding:
    def solve() -> float:
        import cbcbox
        import pulp

        model = pulp.LpProblem("doctor", pulp.LpMaximize)
        x, y = (model.add_variable(n, 0, 2, pulp.LpInteger) for n in "xy")
        model += x + y
        model += x + 2 * y <= 3
        with tempfile.TemporaryDirectory() as folder:
            cbc = pulp.COIN_CMD(path=str(cbcbox.cbc_bin_path()), msg=False)
            cbc.tmpDir = folder
            model.solve(cbc)
        return float(pulp.value(model.objective))

    return _works("CBC", solve)


def _gpu() -> Finding:
    seen, found = "cannot be asked without torch", False
    if _version("torch"):
        import torch

        found = torch.cuda.is_available()
        seen = torch.cuda.get_device_name() if found else "none that torch can use"
    return Finding(
        name="GPU",
        state="ok" if found else "absent",
        seen=seen,
        needed_for="profiles of a GPU; everything else runs without",
    )


def _limits() -> Iterator[Finding]:
    """Whether memory and links of a process can be held down, for stricter trials."""
    held = os.access(CONTROL_GROUPS, os.W_OK) and _capable(SYS_ADMIN)
    yield Finding(
        name="control groups",
        state="ok" if held else "absent",
        seen="may be made here" if held else "may not be made by this user",
        needed_for="running within a memory limit",
    )
    tools = [tool for tool in ("ip", "tc") if shutil.which(tool) is None]
    shaped = not tools and _capable(NET_ADMIN)
    lacking = f"no {' and '.join(tools)} command" if tools else "not allowed to this user"
    yield Finding(
        name="tc",
        state="ok" if shaped else "missing" if tools and sys.platform == "linux" else "absent",
        seen="may shape links here" if shaped else lacking,
        needed_for="tests of measured links under a real bandwidth",
        remedy="apt-get install iproute2" if tools and sys.platform == "linux" else "",
    )


def _capable(capability: int) -> bool:
    """Whether Linux lets this process do it."""
    try:
        status = Path("/proc/self/status").read_text("utf-8")
    except OSError:
        return False
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return bool(found and int(found[1], 16) >> capability & 1)


def _cache() -> Finding:
    """The folder in which transformers looks for models given by a hub id."""
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    folder = Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")
    there = next((p for p in (folder, *folder.parents) if p.exists()), Path("/"))
    writable = os.access(there, os.W_OK)
    free = shutil.disk_usage(there).free
    return Finding(
        name="model cache",
        state="ok" if writable else "broken",
        seen=f"{folder}, {free / 1e9:.0f} GB free" + ("" if writable else ", not writable"),
        needed_for="models given by a hub id",
        remedy="" if writable else "set HF_HOME to a folder that you may write",
    )
