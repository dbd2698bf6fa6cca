"""Texts to token batches: tokenised once, padded to the longest of a batch.

Shapes: B examples of a batch, S tokens of its longest example.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import AutoTokenizer

from finetune.data.dataset import Examples
from profiler.schema import Training, blamed
from solver.plan import InputError

__all__ = [
    "Batch",
    "Tokenised",
    "Tokeniser",
    "draw",
    "group",
    "load_tokeniser",
    "local_batches",
]

Batch = dict[str, Tensor]
Indices = npt.NDArray[np.int64]
IGNORED_LABEL = -100
VOCABULARIES = ("tokenizer.json", "vocab.*", "*.model", "tekken.json")


class Tokenised(NamedTuple):
    """Token ids by example, and how to batch them."""

    ids: list[list[int]]
    labels: npt.NDArray[np.int64]
    pad_id: int
    causal: bool

    def batch(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Batch:
        """Batch of the examples at `indices`: input_ids, attention_mask (B, S) and labels.

        Labels are class indices (B,), or for causal-lm the tokens (B, S) with padding
        ignored.
        """
        rows = [torch.tensor(self.ids[i]) for i in indices]
        padded = torch.nn.utils.rnn.pad_sequence(
            rows, batch_first=True, padding_value=self.pad_id
        )
        lengths = torch.tensor([len(row) for row in rows])
        mask = torch.arange(padded.shape[1]) < lengths[:, None]
        labels = (
            padded.masked_fill(~mask, IGNORED_LABEL)
            if self.causal
            else torch.from_numpy(self.labels[np.asarray(indices)])
        )
        return {"input_ids": padded, "attention_mask": mask.long(), "labels": labels}


class Tokeniser(NamedTuple):
    """A model folder's tokenizer, cut to the plan's sequence length."""

    tokenizer: AutoTokenizer
    pad_id: int
    sequence_length: int
    causal: bool

    def __call__(self, examples: Examples) -> Tokenised:
        """Tokenise; a text that gives no token is refused."""
        ids = self.tokenizer(examples.texts, truncation=True, max_length=self.sequence_length)[
            "input_ids"
        ]
        for text, row in zip(examples.texts, ids, strict=True):
            if len(row) < 1 + self.causal:
                raise InputError(
                    f"the text {text!r} gives {len(row)} tokens; expected {1 + self.causal} "
                    "or more. Remove such texts"
                )
        return Tokenised(ids, examples.labels, self.pad_id, self.causal)


def load_tokeniser(folder: Path, training: Training) -> Tokeniser:
    """Load the tokenizer of a model folder; raises `InputError` if it has none."""
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder}: no model folder (it has no config.json); give the folder of a "
            "Hugging Face model with --model"
        )
    if not any(any(folder.glob(name)) for name in VOCABULARIES):
        # Without one, transformers makes up a tokenizer that knows no word.
        raise InputError(
            f"{folder}: holds no tokenizer; expected a tokenizer.json or a vocabulary beside "
            "the model"
        )
    with blamed(f"{folder}: holds no usable tokenizer", "; expected a tokenizer.json"):
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    pad = tokenizer.pad_token_id
    pad_id = pad if pad is not None else (tokenizer.eos_token_id or 0)
    return Tokeniser(tokenizer, pad_id, training.sequence_length, training.task == "causal-lm")


def group(
    data: Tokenised, held: Indices, batch_size: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Cut the examples held into full batches of like length, shape (batches, batch_size).

    Padding to the longest of a random batch would cost half as much again on ordinary text.
    Where the examples do not fill the last batch, some of them are in two.
    """
    batches = -(-len(held) // batch_size)
    passes = -(-batches * batch_size // len(held))
    drawn = np.concatenate([rng.permutation(held) for _ in range(passes)])
    drawn = drawn[: batches * batch_size]
    lengths = [len(data.ids[i]) for i in drawn]
    return drawn[np.argsort(lengths, kind="stable")].reshape(batches, batch_size)


def draw(groups: npt.NDArray[np.int64], steps: int, rng: np.random.Generator) -> Indices:
    """Draw the batches of `steps` steps, in shuffled passes, end to end."""
    passes = -(-steps // len(groups))
    order = np.concatenate([rng.permutation(len(groups)) for _ in range(passes)])
    drawn: Indices = groups[order[:steps]]
    return drawn


def local_batches(
    data: Tokenised, held: Indices, steps: int, batch_size: int, rng: np.random.Generator
) -> Iterator[Batch]:
    """Yield `steps` full batches of the examples held, grouped anew."""
    for indices in draw(group(data, held, batch_size, rng), steps, rng):
        yield data.batch(indices)
