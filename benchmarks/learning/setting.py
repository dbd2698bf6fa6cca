"""What all arms of a comparison share: model, texts, fleet and how its devices change."""

import csv
import random
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fetch import cache_folder, fetch_model, fetch_reviews
from benchmarks.learning.command import legend

__all__ = ["Setting", "prepare"]

BATCH_SIZE, SEQUENCE_LENGTH, LOCAL_STEPS = 8, 64, 6
# The split is one and the same for every seed, so that the test texts stay unseen.
SPLIT_SEED, TEST_SHARE, VALID_SHARE = 0, 0.2, 0.1
# Devices may keep outputs of frozen layers; their boards have far more flash than this.
STORAGE_GB = 2
# Rows of a trace; where a run has more rounds, it begins again.
TRACE_ROUNDS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One instance of the comparison.

    Attributes
    ----------
    folder : Path
        Where its files and runs are kept.
    model, train, valid, test : Path
        Model folder and texts; `valid` is for choosing learning rates only.
    fleet, trace : Path
        Devices, and how their modes and bandwidths change by round.
    seed : int
    """

    folder: Path
    model: Path
    train: Path
    valid: Path
    test: Path
    fleet: Path
    trace: Path
    seed: int


def prepare(seed: int) -> Setting:
    """Fetch, split and draw whatever is not there yet; raises `InputError`.

    Parameters
    ----------
    seed : int
        Of the fleet, its trace and everything random in a run.
    """
    home = cache_folder() / "learning"
    folder = home / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    model = fetch_model()
    train, valid, test = _split(fetch_reviews(), home)
    fleet, trace = folder / "fleet.json", folder / "trace.json"
    if not (fleet.exists() and trace.exists()):
        legend(
            "fleet", "paper-80", "--model", model, "--seed", seed, "--all-modes",
            "--batch-size", BATCH_SIZE, "--sequence-length", SEQUENCE_LENGTH,
            "--local-steps", LOCAL_STEPS, "--storage-gb", STORAGE_GB,
            "--trace", trace, "--rounds", TRACE_ROUNDS, "-o", fleet,
        )  # fmt: skip
    return Setting(
        folder=folder,
        model=model,
        train=train,
        valid=valid,
        test=test,
        fleet=fleet,
        trace=trace,
        seed=seed,
    )


def _split(reviews: Path, home: Path) -> tuple[Path, Path, Path]:
    """Cut the texts into training, validation and test, once."""
    parts = home / "train.csv", home / "valid.csv", home / "test.csv"
    if all(part.exists() for part in parts):
        return parts
    with reviews.open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    random.Random(SPLIT_SEED).shuffle(rows)
    test, valid = (round(len(rows) * share) for share in (TEST_SHARE, VALID_SHARE))
    cuts = rows[test + valid :], rows[test : test + valid], rows[:test]
    for path, cut in zip(parts, cuts, strict=True):
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([head, *cut])
    return parts
