"""What follows the last layer on a symbolic tape: the head of the task, and its loss."""

from profiler.closed_form import operations as op
from profiler.closed_form.architectures import Architecture, Linear, head_linears
from profiler.closed_form.linear import linear, trained_linear
from profiler.closed_form.norms import layer_norm
from profiler.closed_form.tape import FP32_BYTES, Cost, Tape, Tensor
from profiler.schema import Training

__all__ = ["record_loss"]


def record_loss(
    tape: Tape, architecture: Architecture, training: Training, states: Tensor
) -> Tensor:
    """Record head and loss on the outputs of the base model, of shape (B, S, H)."""
    if training.task == "causal-lm":
        return _token_loss(tape, architecture, states)
    if architecture.decoder:
        return _scored_loss(tape, architecture, training, states)
    return _pooled_loss(tape, architecture, training, states)


def _token_loss(tape: Tape, architecture: Architecture, states: Tensor) -> Tensor:
    head = Linear(
        name="lm_head",
        in_features=architecture.hidden_size,
        out_features=architecture.vocabulary,
        bias=False,
    )
    logits = linear(tape, states, head)
    if architecture.style.scaled_logits:
        logits = op.scaled(tape, logits)
    for step in op.CAP if architecture.style.capped_logits else ():
        logits = step(tape, logits)
    return _cross_entropy(tape, op.cast(tape, logits, FP32_BYTES))


def _scored_loss(
    tape: Tape, architecture: Architecture, training: Training, states: Tensor
) -> Tensor:
    (head,) = head_linears(architecture, training)
    logits = trained_linear(tape, states, head)
    size = training.batch_size * head.out_features
    return _cross_entropy(tape, op.elementwise(tape, (logits,), size))


def _pooled_loss(
    tape: Tape, architecture: Architecture, training: Training, states: Tensor
) -> Tensor:
    width = architecture.hidden_size
    first = _pooled(tape, architecture, states, training.batch_size * width)
    active = training.dropout and architecture.hidden_dropout
    *hidden, last = head_linears(architecture, training)
    if architecture.frozen_pooler:
        pooler = Linear(name="pooler", in_features=width, out_features=width)
        first = op.saves_output(tape, linear(tape, first, pooler))
    for module in hidden:
        if module.name.endswith("norm"):
            first = layer_norm(tape, first, width, trained=module.parameters)
            continue
        first = op.dropout(tape, first, active and architecture.head_input_dropout)
        first = trained_linear(tape, first, module)
        gelu = architecture.head_activation == "gelu"
        first = op.activate(tape, first, "gelu") if gelu else op.saves_output(tape, first)
    logits = trained_linear(tape, op.dropout(tape, first, active), last)
    return _cross_entropy(tape, logits)


def _pooled(tape: Tape, architecture: Architecture, states: Tensor, size: int) -> Tensor:
    """The first token, or the mean of those that are no padding."""
    if architecture.pooling == "first":
        return op.view(tape, states, size)
    masked = op.scaled(tape, states)
    # The gradient of a sum is a view.
    cost = Cost(0.0, masked.nbytes)
    total = tape.emit(size, tape.alias(masked), cost, itemsize=masked.itemsize)
    return op.scaled(tape, total)


def _cross_entropy(tape: Tape, logits: Tensor) -> Tensor:
    return op.elementwise(tape, (op.saves_output(tape, logits),), 1)
