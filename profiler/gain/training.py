"""Short training for gains: adapters over one frozen base, and the loss they end at."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from profiler.adapters import Batch, adapt, seeded, trainable
from profiler.anatomy import Anatomy
from profiler.checkpoint import Checkpoint, build
from profiler.gain.data import IGNORED_LABEL, Text
from profiler.probes import Processor
from profiler.schema import InputError, Training

__all__ = ["LEARNING_RATE", "Bench", "open_bench"]

# As in `legend run`; about the best for AdamW on adapters of rank 8 in our prototype.
LEARNING_RATE = 2e-3
EVALUATION_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A task model with its weights, on the processor that measures.

    Attributes
    ----------
    base : PreTrainedModel
        Frozen, its head at its start; shared by all that is built on it.
    """

    base: PreTrainedModel
    anatomy: Anatomy
    training: Training
    seed: int

    @property
    def processor(self) -> torch.device:
        """Where the model is."""
        device: torch.device = self.base.device
        return device

    def place(self, batch: Batch) -> Batch:
        """Bring a batch to the model."""
        return {name: tensor.to(self.processor) for name, tensor in batch.items()}

    def adapted(self, ranks: Sequence[int]) -> PeftModel:
        """Build fresh adapters and a copy of the head, over the weights of `base`."""
        shared = {id(t): t for t in (*self.base.parameters(), *self.base.buffers())}
        with seeded(self.seed):
            model = adapt(copy.deepcopy(self.base, shared), self.anatomy, ranks, self.training)
        return model.to(self.processor)

    def train(
        self,
        model: torch.nn.Module,
        batches: Iterable[Batch],
        steps: int,
        *,
        learning_rate: float = LEARNING_RATE,
    ) -> None:
        """Train what can be trained in `model`, in place, with AdamW for `steps` steps.

        The learning rate falls to 0: at a constant one the last few batches move the loss
        by more than a layer is worth.
        """
        parameters = trainable(model)
        if not parameters:
            return
        optimizer = torch.optim.AdamW(parameters, lr=learning_rate)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
        model.train()
        with seeded(self.seed):
            for batch in islice(batches, steps):
                optimizer.zero_grad()
                torch.autograd.backward(model(**self.place(batch)).loss)
                optimizer.step()
                schedule.step()

    def loss(self, model: torch.nn.Module, text: Text) -> float:
        """Mean task loss (nats) of a text, by example or, for causal-lm, by token."""
        model.eval()
        total, count = 0.0, 0
        with torch.inference_mode():
            for batch in text.ordered(EVALUATION_BATCH):
                weight = _terms(batch)
                total += model(**self.place(batch)).loss.item() * weight
                count += weight
        return total / count


def _terms(batch: Batch) -> int:
    """How many terms the mean of a batch's loss runs over."""
    labels = batch["labels"]
    return int((labels[:, 1:] != IGNORED_LABEL).sum()) if labels.ndim == 2 else len(labels)


def open_bench(
    checkpoint: Checkpoint,
    anatomy: Anatomy,
    training: Training,
    *,
    processor: Processor,
    seed: int,
) -> Bench:
    """Load a model for measuring gains; a head without weights starts from `seed`.

    Raises
    ------
    InputError
        If the folder holds no weights: what random layers are worth says nothing.
    """
    if not checkpoint.has_weights:
        raise InputError(
            f"{checkpoint.folder}: holds no weights (*.safetensors), without which a gain "
            "means nothing; give a folder with weights, or --gain default"
        )
    with seeded(seed):
        base = build(checkpoint, training, meta=False).to(processor)
    base.requires_grad_(False)
    return Bench(base=base, anatomy=anatomy, training=training, seed=seed)
