"""What is recorded of every round, and reading it back."""

import os
from pathlib import Path

import msgspec
import pandas as pd
from msgspec import Struct

from profiler.schema import refuse_repeated_keys
from solver.plan import InputError, read_bytes

__all__ = [
    "METRICS_FILE",
    "Refusal",
    "RoundMetrics",
    "append_metrics",
    "decode_metrics",
    "milestones",
    "read_metrics",
    "time_to_accuracy_s",
]

METRICS_FILE = "metrics.jsonl"


class Refusal(Struct, frozen=True, kw_only=True):
    """An update that was left out of its round; `kind` is the reason in a word."""

    device: str
    reason: str
    kind: str = ""


class RoundMetrics(Struct, frozen=True, kw_only=True):
    """One line of ``metrics.jsonl``.

    Parameters
    ----------
    round : int
        From 1.
    virtual_time_s : float
        Clock at the end of the round; virtual unless the run charged real seconds.
    round_time_s, mean_wait_s : float
        Time of the round's slowest device; mean over its devices of waiting for it.
    upload_bytes, download_bytes : float
        All rounds so far, all devices.
    train_loss : float or None
        Mean over the accepted devices, by examples; None if no update was accepted.
    test_accuracy, test_loss : float or None
        Of the server's adapter after the round; None where it was not evaluated.
    devices : list of str
        Devices asked.
    refused : list of Refusal
        Updates left out; also devices that were late.
    aggregation_error : float or None
        Relative distance of the server's product to the devices' averaged product
        (`finetune.aggregate.error`); None if no update was accepted.
    plan : int
        Number of the plan in force: 0 is the one the run began with, n is ``plan-n.json``.
    drift : float or None
        How far devices then were from it, see `finetune.replan.observe`; None where nobody
        plans anew.
    """

    round: int
    virtual_time_s: float
    round_time_s: float
    mean_wait_s: float
    upload_bytes: float
    download_bytes: float
    train_loss: float | None
    test_accuracy: float | None
    test_loss: float | None
    devices: list[str]
    refused: list[Refusal]
    aggregation_error: float | None = None
    plan: int = 0
    drift: float | None = None


def append_metrics(path: Path, row: RoundMetrics, kept_bytes: int) -> int:
    """Append a line after the first `kept_bytes`, durably; return the new length in bytes.

    What stands behind `kept_bytes` is of a round that was never committed.
    """
    try:
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.truncate(kept_bytes)
            file.seek(kept_bytes)
            file.write(msgspec.json.encode(row) + b"\n")
            file.flush()
            os.fsync(file.fileno())
            return file.tell()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); nothing is lost, go on with "
            "--resume once it can"
        ) from None


_DECODER = msgspec.json.Decoder(RoundMetrics)


def decode_metrics(data: bytes, name: str) -> list[RoundMetrics]:
    """Parse metrics lines; raises `InputError`.

    Half a line at the end, of a run that was killed while it wrote, is left out.
    """
    whole, newline, _ = data.rpartition(b"\n")
    try:
        try:
            found = _DECODER.decode_lines(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            if not newline:
                raise
            data, found = whole, _DECODER.decode_lines(whole)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: is no metrics file ({error}); expected a run's") from None
    for number, line in enumerate(data.splitlines(), 1):
        refuse_repeated_keys(line, f"{name}, line {number}")
    return found


def read_metrics(path: Path) -> pd.DataFrame:
    """Read the metrics of a run, one row a round.

    Parameters
    ----------
    path : Path
        A run folder or its ``metrics.jsonl``.

    Returns
    -------
    pandas.DataFrame
        Columns as in `RoundMetrics`; not evaluated is NaN.
    """
    file = path / METRICS_FILE if path.is_dir() else path
    rows = decode_metrics(read_bytes(file), str(file))
    frame = pd.DataFrame(msgspec.to_builtins(rows), columns=RoundMetrics.__struct_fields__)
    numbers = ["train_loss", "test_accuracy", "test_loss", "aggregation_error", "drift"]
    return frame.astype(dict.fromkeys(numbers, "float64"))


def time_to_accuracy_s(rows: list[RoundMetrics], accuracy: float) -> float | None:
    """Virtual time of the first evaluation at `accuracy` or above; None if there is none."""
    return next(
        (
            row.virtual_time_s
            for row in rows
            if row.test_accuracy is not None and row.test_accuracy >= accuracy
        ),
        None,
    )


def milestones(rows: list[RoundMetrics]) -> dict[str, float]:
    """Virtual time to each whole per cent, from the accuracy of the first evaluation on."""
    first = next((row.test_accuracy for row in rows if row.test_accuracy is not None), 1.0)
    # Not by the per cents of `first`: 100 * 0.28 is above 28.
    shares = (percent / 100 for percent in range(101))
    times = {f"{s:.2f}": time_to_accuracy_s(rows, s) for s in shares if s >= first}
    return {share: time_s for share, time_s in times.items() if time_s is not None}
