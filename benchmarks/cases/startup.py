"""How long `legend solve` takes before and with its work."""

import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.instances import paper_80_fleet
from benchmarks.machine import ROOT
from benchmarks.registry import Case, Job
from benchmarks.result import Figure, figure
from profiler.schema import InputError, write

TARGET_S = 0.3
STARTS = ("legend solve --help", "legend solve, 1 device")
ROUND_TIME_S = "100"

PROTOCOL = f"""
Wall and CPU seconds of whole processes, in shuffled order within a repetition, after one of
each that does not count: `python -c pass`; `legend solve --help`; `legend solve` at
{ROUND_TIME_S} s for one device, which loads all that planning needs and has next to nothing to
plan; `legend solve` of the paper-80 fleet. Files are read and written. Ratios are of wall times
to `python -c pass` of the same repetition. Byte code is kept, as Python does unless it is told
otherwise: those that do not count write it.
"""


def measure(job: Job) -> list[Figure]:
    """Start every process once a repetition."""
    with tempfile.TemporaryDirectory() as folder:
        plan = str(Path(folder) / "plan.json")
        fleets = {count: str(Path(folder) / f"fleet-{count}.json") for count in (1, 80)}
        for count, path in fleets.items():
            write(Path(path), paper_80_fleet(0, devices=count))
        legend = ["-m", "legend", "solve"]
        options = ["--round-time", ROUND_TIME_S, "-o", plan]
        commands = {
            "python -c pass": ["-c", "pass"],
            "legend solve --help": [*legend, "--help"],
            **{
                f"legend solve, {count} device{'s' * (count > 1)}": [*legend, path, *options]
                for count, path in fleets.items()
            },
        }
        spans: dict[str, list[Span]] = {name: [] for name in commands}
        order = random.Random(0)
        for repetition in range(-1, job.seeds):
            for name in order.sample(list(commands), len(commands)):
                taken = _run(commands[name])
                if repetition >= 0:
                    spans[name].append(taken)
    return _figures(spans)


class Span(NamedTuple):
    """What a process took on both clocks; its CPU time hardly depends on other load."""

    wall_s: float
    cpu_s: float


def _run(arguments: list[str]) -> Span:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise InputError(f"python {' '.join(arguments)} failed: {done.stderr.strip()}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Span(wall_s=wall_s, cpu_s=cpu_s)


def _figures(spans: dict[str, list[Span]]) -> list[Figure]:
    bare = [span.wall_s for span in spans["python -c pass"]]
    figures = []
    for name, values in spans.items():
        wall_s = [span.wall_s for span in values]
        target = TARGET_S if name in STARTS else None
        figures.append(figure("wall time", wall_s, "s", setting=name, target=target))
        figures.append(figure("CPU time", [v.cpu_s for v in values], "s", setting=name))
        if name != "python -c pass":
            ratios = [own / base for own, base in zip(wall_s, bare, strict=True)]
            figures.append(figure("over python -c pass", ratios, "1", setting=name))
    return figures


CASE = Case(
    name="startup",
    summary="How long does `legend solve` take to start, and to plan for 80 devices?",
    protocol=PROTOCOL,
    seeds=10,
    quick_seeds=5,
    measure=measure,
)
