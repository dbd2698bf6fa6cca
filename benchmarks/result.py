"""What a benchmark case hands back: figures with units, spread and target, and their origin.

``legend/result/1`` is the file in ``benchmarks/results/``. Raw values are kept, so that no
repetition can be dropped unseen.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from profiler.files import read
from profiler.migrations import MIGRATIONS
from profiler.schema import Provenance

__all__ = [
    "RESULT_SCHEMA",
    "Better",
    "Figure",
    "Machine",
    "Result",
    "Series",
    "figure",
    "read_result",
]

RESULT_SCHEMA = "legend/result/1"
# What results were called before, and a device's micro-benchmark still is.
OLDER_SCHEMA = "legend/benchmark/1"
Better = Literal["low", "high"]


class _Base(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Immutable, keyword-only, closed to unknown fields."""


class Figure(_Base, frozen=True, kw_only=True):
    """One named figure; `figure` makes it from its values.

    `met` says whether the median reaches the target, and is None where there is none.
    """

    name: Annotated[str, Meta(description="what was measured", min_length=1)]
    setting: Annotated[str, Meta(description="on what instance, with what peer")]
    unit: Annotated[str, Meta(description="unit of all numbers; 1 for a ratio")]
    median: Annotated[float, Meta(description="median of the values")]
    lowest: Annotated[float, Meta(description="smallest value")]
    highest: Annotated[float, Meta(description="largest value")]
    values: Annotated[list[float], Meta(description="every value, in order of the seeds")]
    target: Annotated[float | None, Meta(description="what was promised, if anything")] = None
    better: Annotated[Better, Meta(description="which way is better")] = "low"
    judged: Annotated[
        Literal["median", "worst"], Meta(description="what is held against the target")
    ] = "median"
    met: Annotated[bool | None, Meta(description="whether the target is reached")] = None


class Series(_Base, frozen=True, kw_only=True):
    """Columns of one repetition, for pictures: a curve, or points."""

    name: Annotated[str, Meta(description="what runs along it", min_length=1)]
    setting: Annotated[str, Meta(description="on what instance, with what peer")] = ""
    seed: Annotated[int, Meta(ge=0, description="of the repetition")]
    columns: Annotated[
        dict[str, list[float]],
        Meta(description="columns of one length, by a name that ends with its unit"),
    ]


class Machine(_Base, frozen=True, kw_only=True):
    """Where and on what a case ran."""

    commit: Annotated[str, Meta(description="git commit; '+' where files were changed")]
    processor: Annotated[str, Meta(description="processor, as the system names it")]
    cores: Annotated[int, Meta(ge=1, description="processors this process may use")]
    memory_bytes: Annotated[int, Meta(ge=0, description="memory of the machine; 0 unknown")]
    load_before: Annotated[float, Meta(ge=0, description="load average of a minute, before")]
    load_after: Annotated[float, Meta(ge=0, description="the same, after")]
    versions: Annotated[dict[str, str], Meta(description="Python and packages, by name")]


class Result(_Base, frozen=True, kw_only=True):
    """One run of a case: ``legend/result/1``."""

    schema: Literal["legend/result/1"] = "legend/result/1"
    case: Annotated[str, Meta(description="name in the registry")]
    command: Annotated[str, Meta(description="what repeats this run")]
    quick: Annotated[bool, Meta(description="whether it was the short form")]
    seeds: Annotated[int, Meta(ge=1, description="repetitions, seeds 0 up")]
    protocol: Annotated[str, Meta(description="how it was measured")]
    seconds: Annotated[float, Meta(ge=0, description="how long the case ran")]
    figures: Annotated[list[Figure], Meta(min_length=1, description="the figures")]
    notes: Annotated[list[str], Meta(description="what a reader must know of this run")] = []
    series: Annotated[list[Series], Meta(description="what pictures are drawn from")] = []
    machine: Machine
    provenance: Provenance


def figure(
    name: str,
    values: Sequence[float],
    unit: str,
    *,
    setting: str = "",
    target: float | None = None,
    better: Better = "low",
    judged: Literal["median", "worst"] = "median",
) -> Figure:
    """Sum values up.

    Parameters
    ----------
    name, setting : str
        What was measured, and on what.
    values : sequence of float
        One per repetition; at least one.
    unit : str
        Such as 's' or 'MB'; '1' for a ratio.
    target : float, optional
        What the figure is held against.
    better : {'low', 'high'}
        Whether the target is a ceiling or a floor.
    judged : {'median', 'worst'}
        Whether the median or the worst value must reach it.
    """
    numbers = [float(value) for value in values]
    middle, low, high = statistics.median(numbers), min(numbers), max(numbers)
    worst = high if better == "low" else low
    seen = middle if judged == "median" else worst
    met = None
    if target is not None:
        met = seen <= target if better == "low" else seen >= target
    return Figure(
        name=name,
        setting=setting,
        unit=unit,
        median=middle,
        lowest=low,
        highest=high,
        values=numbers,
        target=target,
        better=better,
        judged=judged,
        met=met,
    )


def _renamed(content: dict[str, Any]) -> dict[str, Any]:
    return content | {"schema": RESULT_SCHEMA}


MIGRATIONS[OLDER_SCHEMA] = _renamed


def read_result(path: Path) -> Result:
    """Read a result; raises `InputError`."""
    return read(path, Result, RESULT_SCHEMA, "Make one with 'python -m benchmarks run'.")
