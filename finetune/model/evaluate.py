"""Loss and accuracy on the test examples.

Batches are built once, of examples of like length, so that little of a batch is padding.
Shapes: B examples, S tokens, V classes or words.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from finetune.data.tokens import IGNORED_LABEL, Batch, Tokenised
from finetune.model.replica import Replica

__all__ = ["Evaluator", "Score"]


class Score(NamedTuple):
    """Mean cross-entropy (nats) and share of right answers: of classes, or of next tokens."""

    loss: float
    accuracy: float

    @property
    def perplexity(self) -> float:
        """``exp(loss)``: of next tokens, how many are as good as equally likely."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


class Evaluator:
    """Test examples, batched once and scored as often as asked."""

    def __init__(self, data: Tokenised, batch_size: int = 64) -> None:
        order = np.argsort([len(row) for row in data.ids], kind="stable")
        self._batches = [
            data.batch(order[start : start + batch_size])
            for start in range(0, len(order), batch_size)
        ]

    def __call__(self, replica: Replica) -> Score:
        """Score a model, without dropout."""
        replica.model.eval()
        loss, right, count = 0.0, 0, 0
        with torch.no_grad():
            for batch in self._batches:
                logits, labels = _predictions(replica, batch)
                loss += torch.nn.functional.cross_entropy(
                    logits, labels, reduction="sum"
                ).item()
                right += int((logits.argmax(-1) == labels).sum())
                count += len(labels)
        return Score(loss / count, right / count)


def _predictions(replica: Replica, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits (n, V) and the labels (n,) they should give."""
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    _, logits = replica.forward(inputs)
    labels = batch["labels"]
    if labels.ndim == 2:
        logits, labels = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
        counted = labels != IGNORED_LABEL
        logits, labels = logits[counted], labels[counted]
    return logits.float(), labels
