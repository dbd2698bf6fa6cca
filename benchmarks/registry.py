"""The benchmark cases by name, and how one is run.

A case lives in ``benchmarks/cases/NAME.py`` (dashes as underscores) and defines ``CASE``;
importing it runs nothing and loads nothing heavy.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from benchmarks.machine import describe, load_average
from benchmarks.result import Figure, Result, Series
from profiler.schema import InputError, provenance, write

__all__ = [
    "NAMES",
    "Case",
    "Job",
    "check_writable",
    "find",
    "result_path",
    "run",
    "save",
]

NAMES = (
    "dp-vs-milp",
    "dp-scale",
    "scale",
    "mean-wait",
    "general-slopes",
    "frontier",
    "capped",
    "links",
    "startup",
    "profiler-memory",
    "memory-peers",
    "profiler-time",
    "derive",
    "learning-rates",
    "learning-rates-skewed",
    "time-to-accuracy",
    "time-to-accuracy-more",
    "time-to-accuracy-short",
    "time-to-accuracy-skewed",
    "utility-truth",
    "changing-fleet",
    "replan",
    "prefix-cache",
    "local-step",
    "engine-vs-ray",
    "testbed",
)
RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a case is asked for.

    Attributes
    ----------
    quick : bool
        The short form: smaller instances, fewer repetitions.
    seeds : int
        Repetitions; seeds run from 0.
    say : callable
        Takes a line about progress.
    notes : list of str
        The case adds what a reader of the figures must know.
    series : list of Series
        The case adds curves and points that a picture shows.
    """

    quick: bool
    seeds: int
    say: Callable[[str], None] = lambda _: None
    notes: list[str] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One benchmark.

    Attributes
    ----------
    name : str
    summary : str
        The question it answers, in one line.
    protocol : str
        How it measures, so that another could do the same.
    seeds, quick_seeds : int
        Repetitions by default.
    measure : callable
        Does it; raises `InputError` where something it needs is not there.
    shortfall : str
        Why targets are missed, where some are, and what is known of it.
    front : str
        Regular expression of the figures that the page of results shows; the others are left to
        the result file.
    """

    name: str
    summary: str
    protocol: str
    seeds: int
    quick_seeds: int
    measure: Callable[[Job], list[Figure]]
    shortfall: str = ""
    front: str = ".*"


def find(name: str) -> Case:
    """Look a case up; raises `InputError` for one that does not exist."""
    if name not in NAMES:
        raise InputError(f"no benchmark '{name}'; expected one of {', '.join(NAMES)}")
    case = import_module(f"benchmarks.cases.{name.replace('-', '_')}").CASE
    assert isinstance(case, Case)
    return case


def run(
    case: Case,
    *,
    quick: bool = False,
    seeds: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Result:
    """Run a case and describe what it ran on.

    Parameters
    ----------
    case : Case
    quick : bool
    seeds : int, optional
        Repetitions; by default the case's own.
    say : callable
        Takes a line about progress.
    """
    count = seeds or (case.quick_seeds if quick else case.seeds)
    job = Job(quick=quick, seeds=count, say=say)
    load, began = load_average(), time.perf_counter()
    figures = case.measure(job)
    seconds = time.perf_counter() - began
    flags = (" --quick" if quick else "") + (f" --seeds {seeds}" if seeds else "")
    return Result(
        case=case.name,
        command=f"python -m benchmarks run {case.name}{flags}",
        quick=quick,
        seeds=count,
        protocol=" ".join(case.protocol.split()),
        seconds=round(seconds, 3),
        figures=figures,
        notes=job.notes,
        series=job.series,
        machine=describe(load),
        provenance=provenance(options={"quick": str(quick), "seeds": str(count)}),
    )


def result_path(name: str, *, quick: bool, folder: Path = RESULTS) -> Path:
    """Where the result of a case is kept; short forms have a folder of their own."""
    return (folder / "quick" if quick else folder) / f"{name}.json"


def check_writable(*, quick: bool, folder: Path = RESULTS) -> None:
    """Raise `InputError` where results cannot be kept."""
    place = result_path("check", quick=quick, folder=folder).parent
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise InputError(
            f"{place}: results cannot be written ({error.strerror}); leave out --save or mend "
            "the folder"
        ) from None


def save(result: Result, folder: Path = RESULTS) -> Path:
    """Keep a result; returns its file."""
    path = result_path(result.case, quick=result.quick, folder=folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, result)
    return path
