"""Each device's share of the training examples, in a file of its own, for a trial."""

import csv
from collections.abc import Sequence
from pathlib import Path

from finetune.data.dataset import Dataset, Examples, load_dataset, load_examples
from finetune.data.partition import shares
from finetune.devices import participants
from finetune.options import RunOptions
from solver.plan import InputError, Plan

__all__ = ["write_shares"]


def write_shares(
    plan: Plan, data: Path, test: Path | None, options: RunOptions, folder: Path
) -> dict[str, Path]:
    """Write what each device that takes part would hold as a simulated one.

    Parameters
    ----------
    plan : Plan
    data, test : Path
        As for a simulated run; the test examples are in no share.
    options : RunOptions
        Names the partition and the columns.
    folder : Path
        Where the files go; made where it is missing.

    Returns
    -------
    dict of str to Path
        File of each device, in the order of the plan.
    """
    dataset = load_dataset(data, test, plan.training, options)
    held = shares(plan, dataset, options)
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for device in participants(plan):
        path = folder / f"{device.position:06d}.csv"
        _write(path, dataset, dataset.train.take(held[device.position]), plan, options)
        files[device.name] = path
    return files


def _write(
    path: Path, dataset: Dataset, own: Examples, plan: Plan, options: RunOptions
) -> None:
    """Write a share and read it back: a table may not hold every text as it is."""
    names = dataset.label_names
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow([options.text_column, *([options.label_column] if names else [])])
        for text, label in zip(own.texts, own.labels, strict=True):
            rows.writerow([text, *([names[label]] if names else [])])
    again, _ = load_examples(path, plan.training, options, names)
    if again.texts != own.texts or again.labels.tolist() != own.labels.tolist():
        raise InputError(
            f"the text {_first_difference(own.texts, again.texts)!r} does not survive being "
            "written to a CSV file; remove odd control characters from the data"
        )


def _first_difference(texts: Sequence[str], others: Sequence[str]) -> str:
    pairs = zip(texts, others, strict=False)
    return next((text[:80] for text, other in pairs if text != other), "")
