"""Modules of this package run in processes of their own, wherever the person is."""

import os
import sys
from pathlib import Path

__all__ = ["environment", "module_command"]


def module_command(module: str, *words: str) -> list[str]:
    """Command that runs a module; start it in `environment`.

    The folder that the person is in is not searched for modules: a file of theirs called
    ``solver.py`` must not stand in for ours.
    """
    return [sys.executable, "-P", "-m", module, *words]


def environment() -> dict[str, str]:
    """Variables of this process, and where it found this package and its libraries."""
    root = str(Path(__file__).resolve().parent.parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, *sys.path]))}
