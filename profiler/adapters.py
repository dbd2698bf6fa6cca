"""A training step as it will run on a device: PEFT adapters, optimizer, batch, phases."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.constants import DUMMY_TARGET_MODULES
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from profiler.anatomy import Anatomy
from profiler.schema import InputError, Training

Batch = dict[str, Tensor]


def adapt(
    model: PreTrainedModel, anatomy: Anatomy, ranks: Sequence[int], training: Training
) -> PeftModel:
    """Put adapters of these ranks, and a trained head, into a task model.

    Parameters
    ----------
    model : PreTrainedModel
        Altered in place.
    anatomy : Anatomy
        Of the same model.
    ranks : sequence of int, shape (L,)
        Rank by layer, input first; 0 leaves a layer bare.
    training : Training
        Says whether activations are recomputed.
    """
    record = anatomy.model
    fields: dict[str, object] = {"r": 1, "target_modules": DUMMY_TARGET_MODULES}
    if any(ranks):
        fields = anatomy.lora.peft_fields(record, ranks)
    config = LoraConfig(
        **fields,
        modules_to_save=record.head_modules or None,
        fan_in_fan_out=any(isinstance(m, Conv1D) for m in model.modules()),
    )
    with warnings.catch_warnings():
        # PEFT asks for checkpointing by a name that is on its way out.
        warnings.simplefilter("ignore", FutureWarning)
        adapted = get_peft_model(model, config)
    if training.gradient_checkpointing:
        _recompute_activations(model)
    _check_trainable(adapted, anatomy, ranks)
    adapted.train()
    return adapted


def _recompute_activations(model: PreTrainedModel) -> None:
    if not model.supports_gradient_checkpointing:
        raise InputError(
            f"{model.config.model_type} cannot recompute activations; leave out "
            "--gradient-checkpointing"
        )
    # The second name is that of transformers before 5.
    newer = getattr(model, "activation_checkpointing_enable", None)
    (newer or model.gradient_checkpointing_enable)({"use_reentrant": False})
    # It makes the embeddings require gradients, which would draw every layer below the
    # adapted ones into the graph.
    model.disable_input_require_grads()


def _check_trainable(adapted: PeftModel, anatomy: Anatomy, ranks: Sequence[int]) -> None:
    per_rank = anatomy.lora.parameters_per_rank
    expected = anatomy.model.head_parameters + sum(
        rank * count for rank, count in zip(ranks, per_rank, strict=True)
    )
    seen = sum(p.numel() for p in trainable(adapted))
    if seen != expected:
        raise InputError(
            f"{anatomy.model.name}: {seen} trained parameters where {expected} were expected; "
            "module names of this model are ambiguous to PEFT; name others with --targets"
        )


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """Parameters that are trained."""
    return [p for p in model.parameters() if p.requires_grad]


def make_optimizer(parameters: list[nn.Parameter], training: Training) -> Optimizer | None:
    """Build the optimizer, or None where nothing is trained."""
    if not parameters:
        return None
    # On a GPU the multi-tensor form is torch's default and needs temporaries of the size of
    # all trained parameters; on a CPU it is not used.
    foreach = parameters[0].is_cuda
    if training.optimizer == "sgd":
        return SGD(parameters, lr=1e-3, foreach=foreach)
    return AdamW(parameters, lr=1e-3, foreach=foreach)


def make_batch(
    vocabulary: int, pad: int, training: Training, generator: torch.Generator | None = None
) -> Batch:
    """Make a batch of random tokens.

    The last token of the first example is padding: transformers drops a mask of ones in
    some attention paths, and real batches are rarely of one length.
    """
    shape = (training.batch_size, training.sequence_length)
    tokens = torch.randint(0, vocabulary, shape, generator=generator)
    tokens = torch.where(tokens == pad, (pad + 1) % vocabulary, tokens)
    mask = torch.ones(shape, dtype=torch.long)
    if training.sequence_length > 1:
        tokens[0, -1] = pad
        mask[0, -1] = 0
    batch = {"input_ids": tokens, "attention_mask": mask}
    if training.task == "causal-lm":
        return {**batch, "labels": tokens.clone()}
    if training.labels == 1:
        return {**batch, "labels": torch.zeros(shape[0])}
    labels = torch.randint(0, training.labels, shape[:1], generator=generator)
    return {**batch, "labels": labels}


class Step:
    """One training step, in phases that can be watched or timed apart."""

    def __init__(self, model: PeftModel, batch: Batch, training: Training) -> None:
        self.model = model
        self.batch = batch
        self.optimizer = make_optimizer(trainable(model), training)

    def forward(self) -> Tensor:
        """Forward pass; returns the loss, shape ()."""
        loss: Tensor = self.model(**self.batch).loss
        return loss

    def backward(self, loss: Tensor) -> None:
        """Backward pass, down to the lowest adapted layer."""
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]

    def update(self) -> None:
        """Optimizer step; gradients are released."""
        if self.optimizer is not None:
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

    def run(self) -> None:
        """Run the whole step."""
        self.backward(self.forward())
        self.update()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Fix torch's random numbers inside the block and restore them after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
