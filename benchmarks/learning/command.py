"""The `legend` command as a person types it, in a process of its own."""

import os
import subprocess
import sys

from benchmarks.machine import ROOT
from profiler.schema import InputError

__all__ = ["legend"]

# Runs share the machine one thread each: several at once finish sooner than one on all cores.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "TOKENIZERS_PARALLELISM": "false",
}


def legend(*words: object) -> str:
    """Run a command; returns what it printed on stdout, raises `InputError` where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "legend", *map(str, words)],
        cwd=ROOT,
        env={**ENVIRONMENT, **os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"legend {words[0]} ended with code {done.returncode}: {last}")
    return done.stdout
