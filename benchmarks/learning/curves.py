"""Accuracy against virtual time and bytes, and when a target is reached."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["Curve", "Spent", "read_curve"]

# Evaluations averaged: one alone jumps by a point or two.
WINDOW = 3
# Evaluations whose mean is the final accuracy.
FINAL = 3
# Points in time of a mean over a curve.
TIMES = 601

Floats = npt.NDArray[np.float64]


class Spent(NamedTuple):
    """Virtual seconds, and bytes of all devices each way, until something was reached."""

    time_s: float
    upload_bytes: float
    download_bytes: float

    @property
    def traffic_bytes(self) -> float:
        """Bytes both ways."""
        return self.upload_bytes + self.download_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One run, evaluation by evaluation.

    Attributes
    ----------
    time_s, upload_bytes, download_bytes, accuracy : arrays, shape (E,)
        Virtual clock and bytes so far, and the accuracy averaged over the last `WINDOW`
        evaluations (fewer at the start).
    final_accuracy, final_loss : float
        Mean of the last `FINAL` evaluations.
    mean_wait_s, mean_round_s : float
        Over the rounds.
    """

    time_s: Floats
    upload_bytes: Floats
    download_bytes: Floats
    accuracy: Floats
    final_accuracy: float
    final_loss: float
    mean_wait_s: float
    mean_round_s: float

    def reaches(self, target: float) -> bool:
        """Whether the accuracy reaches the target at all."""
        return bool((self.accuracy >= target).any())

    def at(self, target: float) -> Spent:
        """What was spent until the target; in the whole run if it is not reached."""
        reached = np.flatnonzero(self.accuracy >= target)
        index = int(reached[0]) if len(reached) else -1
        columns = (self.time_s, self.upload_bytes, self.download_bytes)
        return Spent(*(float(column[index]) for column in columns))

    def accuracy_at(self, time_s: float) -> float:
        """Accuracy at a virtual time, on a line between evaluations."""
        return float(np.interp(time_s, self.time_s, self.accuracy))

    def mean_accuracy(self, until_s: float) -> float:
        """Mean of the accuracy over virtual time: high where it rises early and ends high.

        Before the first evaluation it counts as the first, after the last as the last.
        """
        times = np.linspace(0.0, until_s, TIMES)
        return float(np.interp(times, self.time_s, self.accuracy).mean())


def read_curve(run: Path) -> Curve:
    """Read the metrics of a finished run."""
    lines = (run / "metrics.jsonl").read_bytes().splitlines()
    rows = [msgspec.json.decode(line) for line in lines]
    scored = [row for row in rows if row["test_accuracy"] is not None]
    raw = np.array([row["test_accuracy"] for row in scored])
    return Curve(
        time_s=np.array([row["virtual_time_s"] for row in scored]),
        upload_bytes=np.array([row["upload_bytes"] for row in scored]),
        download_bytes=np.array([row["download_bytes"] for row in scored]),
        accuracy=np.array(
            [raw[max(0, i - WINDOW + 1) : i + 1].mean() for i in range(len(raw))]
        ),
        final_accuracy=float(raw[-FINAL:].mean()),
        final_loss=float(np.mean([row["test_loss"] for row in scored[-FINAL:]])),
        mean_wait_s=float(np.mean([row["mean_wait_s"] for row in rows])),
        mean_round_s=float(np.mean([row["round_time_s"] for row in rows])),
    )
