"""Layers of decoders: Llama's, and what other families change in them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from profiler.closed_form import operations as op
from profiler.closed_form.norms import norm
from profiler.closed_form.tape import FP32_BYTES, Tensor

if TYPE_CHECKING:
    from profiler.closed_form.blocks import Block

__all__ = ["decoder_layer"]


def decoder_layer(
    block: "Block", x: Tensor, rank: int, shared: Mapping[str, Tensor], index: int
) -> Tensor:
    """Record a layer as `profiler.closed_form.style.DecoderStyle` describes it.

    Parameters
    ----------
    block : Block
        The layer.
    x : Tensor, shape (B, S, H)
        Hidden states.
    rank : int
        LoRA rank of the layer.
    shared : mapping of str to Tensor
        ``cosine`` and ``sine``, the rotary tables, and ``mask``.
    index : int
        Place of the layer, 0 at the input.
    """
    attended = _attention_branch(block, x, rank, shared, index)
    if block.architecture.style.parallel:
        total = op.add(block.tape, _mlp_branch(block, x, rank), attended)
        return op.add(block.tape, total, x)
    x = op.add(block.tape, x, attended)
    if not block.architecture.style.holds_attention:
        del attended
    return op.add(block.tape, x, _mlp_branch(block, x, rank))


def _attention_branch(
    block: "Block", x: Tensor, rank: int, shared: Mapping[str, Tensor], index: int
) -> Tensor:
    bare = block.architecture.style.bare_first and index == 0
    normed = x if bare else _norm_before(block, x)
    context = _context(block, normed, rank, shared, index)
    attended = block.dropped(block.linear(context, block.output_index, rank))
    del context, normed
    return _norm_after(block, attended)


def _mlp_branch(block: "Block", x: Tensor, rank: int) -> Tensor:
    if block.architecture.style.inline_mlp:
        return _inline_mlp(block, x, rank)
    return _norm_after(block, _mlp(block, _norm_before(block, x), rank))


def _inline_mlp(block: "Block", x: Tensor, rank: int) -> Tensor:
    """An MLP that the layer runs itself: no caller holds on to what is overwritten."""
    first = block.output_index + 1
    inner = block.linear(_norm_before(block, x), first, rank)
    inner = op.activate(block.tape, inner, block.architecture.activation)
    inner = block.linear(inner, first + 1, rank)
    return block.dropped(inner)


def _norm_before(block: "Block", x: Tensor) -> Tensor:
    style = block.architecture.style
    return norm(block.tape, x, block.width, style.norm) if style.norm_before else x


def _norm_after(block: "Block", x: Tensor) -> Tensor:
    style = block.architecture.style
    if style.norm_after:
        x = norm(block.tape, x, block.width, style.norm)
    return op.scaled(block.tape, x) if style.scaled else x


def _context(
    block: "Block", x: Tensor, rank: int, shared: Mapping[str, Tensor], index: int
) -> Tensor:
    query, key, value = _projected(block, x, rank)
    if index not in block.architecture.style.unrotated:
        query, key = _rotate(block, query, shared), _rotate(block, key, shared)
    return block.attend(query, key, value, shared)


def _projected(block: "Block", x: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    architecture, style = block.architecture, block.architecture.style
    if architecture.joint_projection:
        return _parts(block, block.linear(x, 0, rank))
    query, key, value = (block.linear(x, i, rank) for i in range(3))
    query = op.scaled(block.tape, query) if style.scaled_query else query
    if style.query_key_norm:
        whole = style.query_key_norm == "whole"
        groups = (architecture.heads, architecture.key_value_heads) if whole else (1, 1)
        widths = [n * architecture.head_size for n in groups]
        query = norm(block.tape, query, widths[0], style.norm)
        key = norm(block.tape, key, widths[1], style.norm)
    return query, key, value


def _parts(block: "Block", joint: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value, cut out of one projection."""
    if block.architecture.style.split:
        query, key, value = block.tape.split(joint, 3)
        return query, key, value
    size = block.tokens * block.architecture.head_size
    heads, groups = block.architecture.heads, block.architecture.key_value_heads
    query, key, value = (op.view(block.tape, joint, size * n) for n in (heads, groups, groups))
    return query, key, value


def _rotate(block: "Block", x: Tensor, shared: Mapping[str, Tensor]) -> Tensor:
    """Rotate the whole head, or its first numbers and put the rest behind them."""
    rotated = block.architecture.style.rotated
    if not rotated:
        return _rotate_all(block, x, shared)
    size = x.elements // block.architecture.head_size * rotated
    rest = op.view(block.tape, x, x.elements - size)
    first = x if size == x.elements else op.view(block.tape, x, size)
    return op.join(block.tape, _rotate_all(block, first, shared), rest)


def _rotate_all(block: "Block", x: Tensor, shared: Mapping[str, Tensor]) -> Tensor:
    """``x cos + rotate_half(x) sin``; the tables carry no gradient."""
    tape = block.tape
    cosine = op.multiply(tape, _widened(block, x), shared["cosine"])
    sine = op.multiply(tape, _turned(block, _widened(block, x)), shared["sine"])
    return op.cast(tape, op.add(tape, cosine, sine), x.itemsize)


def _widened(block: "Block", x: Tensor) -> Tensor:
    wide = block.architecture.style.wide_rotation
    return op.cast(block.tape, x, FP32_BYTES if wide else x.itemsize)


def _turned(block: "Block", x: Tensor) -> Tensor:
    negated = op.elementwise(block.tape, (x,), x.elements // 2)
    return op.elementwise(block.tape, (x, negated), x.elements)


def _mlp(block: "Block", x: Tensor, rank: int) -> Tensor:
    inner = _inner(block, x, rank)
    out = block.linear(inner, len(block.architecture.linears) - 1, rank)
    del inner
    return block.dropped(out)


def _inner(block: "Block", x: Tensor, rank: int) -> Tensor:
    first = block.output_index + 1
    style, activation = block.architecture.style, block.architecture.activation
    if style.joint_gate:
        gate, up = block.tape.split(block.linear(x, first, rank), 2)
        return op.multiply(block.tape, up, op.activate(block.tape, gate, activation))
    inner = op.activate(block.tape, block.linear(x, first, rank), activation)
    if not style.gated:
        return inner
    return op.multiply(block.tape, inner, block.linear(x, first + 1, rank))
