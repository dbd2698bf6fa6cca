"""DeBERTa's attention: content to content, content to position, position to content."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from profiler.closed_form import operations as op
from profiler.closed_form.tape import Tensor

if TYPE_CHECKING:
    from profiler.closed_form.blocks import Block

__all__ = ["disentangled_attention"]

INDEX_BYTES = 8
# Linear modules of a layer that projects positions with the weights of the content.
SHARED_LINEARS = 6


def disentangled_attention(
    block: "Block", x: Tensor, rank: int, shared: Mapping[str, Tensor]
) -> Tensor:
    """Attention with relative positions (He et al., DeBERTa, arXiv 2006.03654).

    Parameters
    ----------
    block : Block
        The layer.
    x : Tensor, shape (B, S, H)
        Hidden states.
    rank : int
        LoRA rank of the layer.
    shared : mapping of str to Tensor
        ``positions``, the embeddings of R relative positions, and ``mask``.
    """
    tape = block.tape
    query, key, value = (op.copy(tape, block.linear(x, i, rank)) for i in range(3))
    scores = _content_scores(block, query, key)
    relative = _relative_scores(block, query, key, rank, shared)
    scores = op.add(tape, scores, relative)
    mask = op.elementwise(tape, (shared["mask"],), itemsize=1)
    scores = op.elementwise(tape, (scores,), saved=(mask.storage,))
    weights = op.saves_output(tape, scores)
    weights = op.dropout(tape, weights, block.attention_dropout)
    length = block.training.sequence_length
    context = op.matmul(tape, weights, value, x.elements, length)
    return op.copy(tape, context)


def _content_scores(block: "Block", query: Tensor, key: Tensor) -> Tensor:
    scaled = op.elementwise(block.tape, (key,))
    return op.matmul(block.tape, query, scaled, block.scores, block.architecture.head_size)


def _relative_scores(
    block: "Block", query: Tensor, key: Tensor, rank: int, shared: Mapping[str, Tensor]
) -> Tensor:
    tape = block.tape
    positions = op.dropout(tape, shared["positions"], block.hidden_dropout)
    own = len(block.architecture.linears) > SHARED_LINEARS
    first, second = (SHARED_LINEARS + 1, SHARED_LINEARS) if own else (0, 1)
    to_query = _projected(block, positions, first, rank, tied=not own)
    to_key = _projected(block, positions, second, rank, tied=not own)
    content_to_position = _gathered(block, query, to_key)
    score = op.copy(tape, op.copy(tape, content_to_position))
    position_to_content = _gathered(block, key, to_query)
    return op.add_in_place(tape, score, op.copy(tape, position_to_content))


def _projected(
    block: "Block", positions: Tensor, index: int, rank: int, *, tied: bool
) -> Tensor:
    """Project the position embeddings and repeat them for every example."""
    tape = block.tape
    heads = op.copy(tape, block.linear(positions, index, rank, tied=tied))
    return op.elementwise(tape, (heads,), heads.elements * block.training.batch_size)


def _gathered(block: "Block", content: Tensor, positions: Tensor) -> Tensor:
    """Scores against all R positions, then those at the distance of each pair."""
    tape, length = block.tape, block.training.sequence_length
    size = block.scores // length * block.architecture.relative_positions
    every = op.matmul(tape, content, positions, size, block.architecture.head_size)
    index = tape.source(length * length, INDEX_BYTES)
    saved = (every.storage, index.storage)
    return op.elementwise(tape, (every,), block.scores, saved=saved, itemsize=tape.itemsize)
