"""Labelled text from a table, and the part of it held out for testing."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from msgspec import structs

from finetune.data.arrow_folder import read_folder
from finetune.options import RunOptions
from finetune.seeds import Stream, generator
from profiler.schema import Training, blamed
from solver.plan import InputError

__all__ = ["Dataset", "Examples", "load_dataset", "load_examples", "load_test", "read_table"]

Indices = npt.NDArray[np.int64]

FORMATS = ".csv, .tsv, .jsonl, .json (one object a line), .parquet or a datasets folder"


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
    table = _checked(path, columns)
    test_table = _checked(test_path, columns[: 1 + bool(classes)]) if test_path else None
    names = _label_names([t for t in (table, test_table) if t is not None], columns, classes)
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
    table = _checked(path, columns)
    known = list(names) if names is not None else _label_names([table], columns, classes)
    if classes and (strange := sorted({v.strip() for v in table[columns[1]]} - set(known))):
        raise InputError(
            f"{path}: column '{columns[1]}' holds '{strange[0]}'; the run knows "
            f"{', '.join(known)}. Correct the labels"
        )
    return _examples(table, columns, known, whole), known


def read_table(path: Path) -> pd.DataFrame:
    """Read a table, every column as text; raises `InputError`."""
    if path.is_dir():
        return _as_text(read_folder(path))
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".tsv", ".jsonl", ".json", ".parquet"):
        raise InputError(f"{path}: ends in '{suffix}'; expected {FORMATS}")
    if suffix == ".parquet":
        import pyarrow  # noqa: F401  (so that its absence is named, with a remedy)
    if not path.exists():
        raise InputError(f"{path}: no such file; check the path")
    with blamed(f"{path}: is no readable {suffix} table"):
        return _parse(path, suffix)


def _parse(path: Path, suffix: str) -> pd.DataFrame:
    if suffix == ".parquet":
        table = pd.read_parquet(path)
    elif suffix in (".jsonl", ".json"):
        table = pd.read_json(path, lines=True, dtype=False)
    else:
        separator = "\t" if suffix == ".tsv" else ","
        return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    return _as_text(table)


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    missing = table.isna()
    return table.astype(str).mask(missing, "")


def _columns(options: RunOptions, *, labelled: bool) -> list[str]:
    """Columns needed: text, then label, then owner."""
    label = [options.label_column] if labelled else []
    owner = [options.natural_column] if options.natural_column else []
    return [options.text_column, *label, *owner]


def _checked(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    table = read_table(path)
    if table.empty:
        raise InputError(f"{path}: holds no rows; expected one example a row")
    for column in columns:
        if column not in table.columns:
            raise InputError(
                f"{path}: no column '{column}'; it has {', '.join(map(str, table.columns))}. "
                "Name the columns with --text-column and --label-column"
            )
        empty = np.flatnonzero(table[column].str.strip().to_numpy() == "")
        if len(empty):
            raise InputError(
                f"{path}: '{column}' is empty in row {empty[0] + 1} ({len(empty)} such rows); "
                "fill or remove them"
            )
    return table


def _label_names(
    tables: Sequence[pd.DataFrame], columns: Sequence[str], classes: int
) -> list[str]:
    """Names of the classes in the order of their index; integers 0..classes-1 keep theirs."""
    if not classes:
        return []
    seen = sorted({str(v).strip() for table in tables for v in table[columns[1]]})
    if len(seen) < 2:
        raise InputError(f"column '{columns[1]}' holds only '{seen[0]}'; expected 2 or more")
    integers = [str(i) for i in range(classes)]
    if set(seen) <= set(integers):
        return integers
    if len(seen) > classes:
        raise InputError(
            f"column '{columns[1]}' holds {len(seen)} labels; the plan trains {classes}. "
            f"Profile the model with {len(seen)} labels, or merge labels"
        )
    return seen


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
