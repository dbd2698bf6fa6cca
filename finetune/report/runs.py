"""Runs to show beside a plan: their metrics, and when they reached which accuracy."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finetune.monitor.metrics import METRICS_FILE, RoundMetrics, decode_metrics
from solver.plan import InputError, read_bytes

__all__ = ["SMOOTHING", "Point", "Reached", "Run", "reached", "read_runs", "targets"]

SMOOTHING = 3
"""Evaluations in the trailing mean, since a single one jumps by a point or two."""

ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """An evaluation.

    Attributes
    ----------
    time_s, upload_bytes : float
        Virtual time and bytes uploaded by all devices, both since the start.
    accuracy : float
        On the test examples, from 0 to 1.
    smooth : float
        Mean of this and the evaluations before it, `SMOOTHING` in all.
    """

    time_s: float
    upload_bytes: float
    accuracy: float
    smooth: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: its name on the page, its rounds and its evaluations."""

    label: str
    rounds: tuple[RoundMetrics, ...]
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """When a run first held an accuracy."""

    time_s: float
    upload_bytes: float


def read_runs(folders: Sequence[Path], labels: Sequence[str]) -> list[Run]:
    """Read run folders; each is named by its label, or by its folder where labels end."""
    if len(labels) > len(folders):
        raise InputError(
            f"{len(labels)} labels for {len(folders)} run folders; give one --label a folder"
        )
    return [
        _read(folder, labels[i] if i < len(labels) else folder.resolve().name)
        for i, folder in enumerate(folders)
    ]


def _read(folder: Path, label: str) -> Run:
    path = folder / METRICS_FILE
    if not path.is_file():
        raise InputError(
            f"{folder}: holds no {METRICS_FILE}; expected a folder that 'legend run' wrote"
        )
    rounds = decode_metrics(read_bytes(path), str(path))
    _check_numbers(rounds, path)
    return Run(label=label, rounds=tuple(rounds), points=tuple(_points(rounds)))


def _check_numbers(rounds: Sequence[RoundMetrics], path: Path) -> None:
    if not rounds:
        raise InputError(f"{path}: holds no round; let the run finish one")
    for row in rounds:
        figures = (row.virtual_time_s, row.upload_bytes, row.download_bytes, row.mean_wait_s)
        if not all(math.isfinite(v) and v >= 0 for v in figures):
            raise InputError(
                f"{path}: round {row.round} holds a figure below 0 or infinite; "
                "expected the metrics of a run"
            )
        if row.test_accuracy is not None and not 0 <= row.test_accuracy <= 1:
            raise InputError(
                f"{path}: round {row.round} has test_accuracy {row.test_accuracy}; "
                "expected 0 to 1"
            )


def _points(rounds: Sequence[RoundMetrics]) -> list[Point]:
    points: list[Point] = []
    seen: list[float] = []
    for row in rounds:
        if row.test_accuracy is None:
            continue
        seen.append(row.test_accuracy)
        recent = seen[-SMOOTHING:]
        points.append(
            Point(
                time_s=row.virtual_time_s,
                upload_bytes=row.upload_bytes,
                accuracy=row.test_accuracy,
                smooth=sum(recent) / len(recent),
            )
        )
    return points


def reached(run: Run, accuracy: float) -> Reached | None:
    """Where the smoothed accuracy first is `accuracy` or more; None if it never is."""
    for index, point in enumerate(run.points):
        if point.smooth >= accuracy - ROUNDING and index + 1 >= min(SMOOTHING, len(run.points)):
            return Reached(time_s=point.time_s, upload_bytes=point.upload_bytes)
    return None


def targets(runs: Sequence[Run], most: int = 5) -> list[float]:
    """Whole per cents worth comparing: the highest reached by any run, and some below."""
    best = [max((p.smooth for p in run.points), default=0.0) for run in runs]
    start = min((run.points[0].smooth for run in runs if run.points), default=1.0)
    top, common = (math.floor(100 * (f(best, default=0.0) + ROUNDING)) for f in (max, min))
    wanted = {top, common, common - 1, common - 2, common - 5, common - 10}
    kept = sorted((p for p in wanted if p > 100 * start), reverse=True)
    return [percent / 100 for percent in kept[:most]]
