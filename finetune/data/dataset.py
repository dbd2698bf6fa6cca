"""Labelled text from a table, and the part of it held out for testing."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from msgspec import structs

from finetune.options import RunOptions
from finetune.seeds import Stream, generator
from profiler.labelled import class_names, read_columns
from profiler.schema import Training
from solver.plan import InputError

__all__ = ["Dataset", "Examples", "load_dataset", "load_examples", "load_test"]

Indices = npt.NDArray[np.int64]


class Examples(NamedTuple):
    """Texts with their class index (0 for causal-lm) and owner ("" unless natural)."""

    texts: list[str]
    labels: Indices
    owners: list[str]

    def take(self, indices: Indices) -> "Examples":
        """Examples at `indices`, in their order."""
        return Examples(
            [self.texts[i] for i in indices],
            self.labels[indices],
            [self.owners[i] for i in indices],
        )


class Dataset(NamedTuple):
    """Training and test examples, and what the class indices stand for."""

    train: Examples
    test: Examples
    label_names: list[str]


def load_dataset(
    path: Path, test_path: Path | None, training: Training, options: RunOptions
) -> Dataset:
    """Read the data and hold out the test examples.

    Without `test_path` a share of every class, drawn by the seed, is held out; what
    `max_test` cuts off the test examples is used for nothing.

    Raises
    ------
    InputError
        If a file or column is missing, a text is empty, or the labels do not fit the plan.
    """
    classes = training.labels if training.task == "classification" else 0
    if training.task == "classification" and classes < 2:
        raise InputError(f"the plan trains {classes} labels; expected 2 or more. Profile again")
    columns = _columns(options, labelled=bool(classes))
    table = read_columns(path, columns)
    test_table = read_columns(test_path, columns[: 1 + bool(classes)]) if test_path else None
    tables = [t for t in (table, test_table) if t is not None]
    names = class_names([t[columns[1]] for t in tables], classes) if classes else []
    examples = _examples(table, columns, names, options)
    if test_table is None:
        train, test = _split(examples, options)
    else:
        train, test = examples, _examples(test_table, columns, names, options)
    rng = generator(options.seed, Stream.SPLIT, 1)
    kept = np.sort(rng.permutation(len(test.texts))[: options.max_test])
    if not (len(train.texts) and len(kept)):
        raise InputError(
            f"{path}: {len(examples.texts)} examples leave {len(train.texts)} to train and "
            f"{len(kept)} to test; give more data or another --test-fraction"
        )
    return Dataset(train, test.take(kept), names)


def load_test(
    path: Path, test_path: Path | None, training: Training, options: RunOptions
) -> Dataset:
    """Read a server's data where the devices have their own: test examples only.

    The names of the classes are taken from them. Raises `InputError` as `load_dataset`.
    """
    examples, names = load_examples(test_path or path, training, options)
    rng = generator(options.seed, Stream.SPLIT, 1)
    kept = np.sort(rng.permutation(len(examples.texts))[: options.max_test])
    return Dataset(examples.take(kept[:0]), examples.take(kept), names)


def load_examples(
    path: Path, training: Training, options: RunOptions, names: Sequence[str] | None = None
) -> tuple[Examples, list[str]]:
    """Read a file whole, as one owner's examples, with the names of its classes.

    `names` says what the classes are called where the file itself need not hold them all;
    a label that is none of them is refused with `InputError`.
    """
    classes = training.labels if training.task == "classification" else 0
    whole = structs.replace(options, partition="iid")
    columns = _columns(whole, labelled=bool(classes))
    table = read_columns(path, columns)
    known = list(names) if names is not None else []
    if classes and names is None:
        known = class_names([table[columns[1]]], classes)
    if classes and (strange := sorted({v.strip() for v in table[columns[1]]} - set(known))):
        raise InputError(
            f"{path}: column '{columns[1]}' holds '{strange[0]}'; the run knows "
            f"{', '.join(known)}. Correct the labels"
        )
    return _examples(table, columns, known, whole), known


def _columns(options: RunOptions, *, labelled: bool) -> list[str]:
    """Columns needed: text, then label, then owner."""
    label = [options.label_column] if labelled else []
    owner = [options.natural_column] if options.natural_column else []
    return [options.text_column, *label, *owner]


def _examples(
    table: pd.DataFrame, columns: Sequence[str], names: Sequence[str], options: RunOptions
) -> Examples:
    index_of = {name: index for index, name in enumerate(names)}
    labels = (
        [index_of[str(value).strip()] for value in table[columns[1]]]
        if names
        else [0] * len(table)
    )
    owner = options.natural_column
    owners = table[owner].tolist() if owner in table.columns else [""] * len(table)
    return Examples(table[columns[0]].tolist(), np.asarray(labels, dtype=np.int64), owners)


def _split(examples: Examples, options: RunOptions) -> tuple[Examples, Examples]:
    """Hold out the same share of every class."""
    rng = generator(options.seed, Stream.SPLIT)
    held_out = np.zeros(len(examples.texts), dtype=bool)
    for label in np.unique(examples.labels):
        members = rng.permutation(np.flatnonzero(examples.labels == label))
        held_out[members[: round(options.test_fraction * len(members))]] = True
    return (
        examples.take(np.flatnonzero(~held_out)),
        examples.take(np.flatnonzero(held_out)),
    )
