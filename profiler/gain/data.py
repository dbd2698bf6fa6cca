"""Text for measuring gains: a table read, tokenised, split and batched.

Shapes: B examples of a batch, S tokens of its longest example.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import torch
from transformers import AutoTokenizer

from profiler.adapters import Batch
from profiler.checkpoint import Checkpoint
from profiler.schema import InputError, Training, blamed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Source", "Text", "load_text"]

FORMATS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
VOCABULARIES = ("tokenizer.json", "vocab.*", "*.model", "tekken.json")
IGNORED_LABEL = -100


class Source(NamedTuple):
    """Where the text is.

    Parameters
    ----------
    path : Path
        A table: CSV, TSV, JSON lines or Parquet.
    text_column, label_column : str
        Its columns; causal-lm needs no label.
    """

    path: Path
    text_column: str = "text"
    label_column: str = "label"


class Text(NamedTuple):
    """Tokenised examples, ready to be batched.

    Attributes
    ----------
    ids : list of list of int
        Tokens of each example.
    labels : list of int
        Class of each example; 0 for causal-lm.
    pad_id : int
        Token to fill up with.
    causal : bool
        Whether the tokens are their own labels.
    """

    ids: list[list[int]]
    labels: list[int]
    pad_id: int
    causal: bool

    def take(self, indices: Sequence[int]) -> Self:
        """Examples at `indices`, in their order."""
        return self._replace(
            ids=[self.ids[i] for i in indices], labels=[self.labels[i] for i in indices]
        )

    def split(self, fraction: float) -> tuple[Self, Self]:
        """Part into a first share of the examples, which are in random order, and the rest."""
        cut = round(len(self.ids) * fraction)
        return self.take(range(cut)), self.take(range(cut, len(self.ids)))

    def batch(self, indices: Sequence[int]) -> Batch:
        """Batch of the examples at `indices`, padded to the longest: tensors (B, S), (B,)."""
        rows = [torch.tensor(self.ids[i]) for i in indices]
        tokens = torch.nn.utils.rnn.pad_sequence(
            rows, batch_first=True, padding_value=self.pad_id
        )
        lengths = torch.tensor([len(row) for row in rows])
        mask = torch.arange(tokens.shape[1]) < lengths[:, None]
        labels = (
            tokens.masked_fill(~mask, IGNORED_LABEL)
            if self.causal
            else torch.tensor([self.labels[i] for i in indices])
        )
        return {"input_ids": tokens, "attention_mask": mask.long(), "labels": labels}

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        """Yield every example once, in batches of like length."""
        order = self._by_length(range(len(self.ids)))
        for start in range(0, len(order), batch_size):
            yield self.batch(order[start : start + batch_size])

    def shuffled(self, batch_size: int, steps: int, seed: int) -> Iterator[Batch]:
        """Yield `steps` full batches of like length, from shuffled passes over the examples."""
        rng = np.random.default_rng(seed)
        needed = steps * batch_size
        passes = -(-needed // len(self.ids))
        drawn = np.concatenate([rng.permutation(len(self.ids)) for _ in range(passes)])
        order = np.array(self._by_length(drawn[:needed].tolist())).reshape(steps, batch_size)
        for rows in rng.permutation(order):
            yield self.batch(rows.tolist())

    def _by_length(self, indices: Sequence[int]) -> list[int]:
        return sorted(indices, key=lambda i: len(self.ids[i]))


def load_text(
    source: Source, checkpoint: Checkpoint, training: Training, *, count: int, seed: int
) -> Text:
    """Read, draw and tokenise at most `count` examples.

    Raises
    ------
    InputError
        If the file, a column, the labels or the model's tokenizer are not usable.
    """
    causal = training.task == "causal-lm"
    if training.labels == 1 and not causal:
        raise InputError("gain on data needs 2 or more --labels; expected classes, not scores")
    columns = [source.text_column, *([] if causal else [source.label_column])]
    table = _checked(source.path, columns)
    labels = [0] * len(table)
    if not causal:
        labels = _class_indices(table[source.label_column], training.labels)
    drawn = np.random.default_rng(seed).permutation(len(table))[:count].tolist()
    texts = table[source.text_column].tolist()
    ids, pad_id = _tokenise([texts[i] for i in drawn], checkpoint, training)
    return Text(ids, [labels[i] for i in drawn], pad_id, causal)


def _checked(path: Path, columns: Sequence[str]) -> "pd.DataFrame":
    table = _read_table(path)
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


def _read_table(path: Path) -> "pd.DataFrame":
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"{path}: ends in '{suffix}'; expected {', '.join(FORMATS)}")
    if suffix == ".parquet":
        import pyarrow  # noqa: F401  (so that its absence is named, with a remedy)
    if not path.exists():
        raise InputError(f"{path}: no such file; check the path")
    with blamed(f"{path}: is no readable {suffix} table"):
        return _parse(path, suffix)


def _parse(path: Path, suffix: str) -> "pd.DataFrame":
    import pandas as pd

    if suffix in (".csv", ".tsv"):
        separator = "\t" if suffix == ".tsv" else ","
        return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    table = (
        pd.read_parquet(path)
        if suffix == ".parquet"
        else pd.read_json(path, lines=True, dtype=False)
    )
    return table.astype(str).mask(table.isna(), "")


def _class_indices(column: "pd.Series[str]", classes: int) -> list[int]:
    """Class of each row: integers 0..classes-1 as they are, other labels in sorted order."""
    values = [value.strip() for value in column]
    names = sorted(set(values))
    if len(names) < 2 or len(names) > classes:
        raise InputError(
            f"column '{column.name}' holds {len(names)} labels; the profile is for {classes}. "
            "Profile with the right --labels"
        )
    integers = [str(i) for i in range(classes)]
    if set(names) <= set(integers):
        names = integers
    return [names.index(value) for value in values]


def _tokenise(
    texts: list[str], checkpoint: Checkpoint, training: Training
) -> tuple[list[list[int]], int]:
    if not any(list(checkpoint.folder.glob(name)) for name in VOCABULARIES):
        # Without one, transformers makes up a tokenizer that knows no word.
        raise InputError(
            f"{checkpoint.folder}: holds no tokenizer; expected a tokenizer.json or vocabulary"
        )
    unusable = f"{checkpoint.folder}: holds no usable tokenizer"
    with blamed(unusable, "; expected a tokenizer.json"):
        tokenizer = AutoTokenizer.from_pretrained(
            checkpoint.folder, local_files_only=True, trust_remote_code=False
        )
    rows = tokenizer(texts, truncation=True, max_length=training.sequence_length)["input_ids"]
    least = 2 if training.task == "causal-lm" else 1
    for text, row in zip(texts, rows, strict=True):
        if len(row) < least:
            raise InputError(
                f"the text {text!r} gives {len(row)} tokens; expected {least} or more. "
                "Remove such texts"
            )
    pad = tokenizer.pad_token_id
    return rows, int(pad if pad is not None else (tokenizer.eos_token_id or 0))
