"""Text for measuring gains: a table read, tokenised, split and batched.

Shapes: B examples of a batch, S tokens of its longest example.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from transformers import AutoTokenizer

from profiler.adapters import Batch
from profiler.checkpoint import Checkpoint
from profiler.labelled import class_names, read_columns
from profiler.schema import InputError, Training, blamed

__all__ = ["Source", "Text", "load_text"]

VOCABULARIES = ("tokenizer.json", "vocab.*", "*.model", "tekken.json")
IGNORED_LABEL = -100


class Source(NamedTuple):
    """Where the text is.

    Parameters
    ----------
    path : Path
        A table: CSV, TSV, JSON, Parquet or a datasets folder.
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
    table = read_columns(source.path, columns)
    labels = [0] * len(table)
    if not causal:
        column = table[source.label_column]
        names = class_names([column], training.labels)
        labels = [names.index(value.strip()) for value in column]
    drawn = np.random.default_rng(seed).permutation(len(table))[:count].tolist()
    texts = table[source.text_column].tolist()
    ids, pad_id = _tokenise([texts[i] for i in drawn], checkpoint, training)
    return Text(ids, [labels[i] for i in drawn], pad_id, causal)


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
