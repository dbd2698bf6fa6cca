"""Tensor operations on a symbolic tape: work, saved tensors and gradients of each.

What autograd saves follows the derivative of each operation: a product keeps the factor it
needs for the other one's gradient. Linear modules are in `profiler.closed_form.linear`.
"""

from dataclasses import replace

from profiler.closed_form.tape import FP32_BYTES, Cost, Storage, Tape, Tensor

__all__ = [
    "CAP",
    "activate",
    "add",
    "add_in_place",
    "cast",
    "copy",
    "dropout",
    "elementwise",
    "frozen_weights",
    "fused_attention",
    "join",
    "matmul",
    "multiply",
    "saves_output",
    "scaled",
    "softmax",
    "spread",
    "view",
]


def elementwise(
    tape: Tape,
    inputs: tuple[Tensor, ...],
    elements: int = 0,
    *,
    saved: tuple[Storage, ...] = (),
    itemsize: int = 0,
    functions: int = 0,
) -> Tensor:
    """An operation that reads its inputs and writes an output once."""
    size = elements or max(x.elements for x in inputs)
    width = itemsize or max(x.itemsize for x in inputs)
    moved = sum(x.nbytes for x in inputs) + size * width
    edges = tuple(e for x in inputs for e in tape.edge(x, 0.0, size * width))
    cost = Cost(0.0, moved, functions=functions)
    return tape.emit(size, edges, cost, saved=saved, itemsize=width)


def add(tape: Tape, a: Tensor, b: Tensor) -> Tensor:
    """Sum of two tensors; the wider type wins, and what has it gets the gradient itself."""
    width = max(a.itemsize, b.itemsize)
    size = a.elements * width
    edges = [
        e
        for x in (a, b)
        for e in (tape.alias(x) if x.itemsize == width else tape.edge(x, 0.0, size))
    ]
    cost = Cost(0.0, a.nbytes + b.nbytes + size)
    return tape.emit(a.elements, edges, cost, itemsize=width)


def view(tape: Tape, x: Tensor, elements: int) -> Tensor:
    """Part of a tensor, in its storage; the gradient is as large as the whole."""
    edges = tape.edge(x, 0.0, x.nbytes)
    return tape.emit(elements, edges, Cost(0.0, 0.0), itemsize=x.itemsize, storage=x.storage)


def spread(tape: Tape, x: Tensor, elements: int) -> Tensor:
    """A tensor seen several times in its own storage; the gradients are summed."""
    edges = tape.edge(x, 0.0, elements * x.itemsize)
    return tape.emit(elements, edges, Cost(0.0, 0.0), itemsize=x.itemsize, storage=x.storage)


def multiply(tape: Tape, a: Tensor, b: Tensor) -> Tensor:
    """Product of two tensors; each is kept for the gradient of the other."""
    size, width = max(a.elements, b.elements), max(a.itemsize, b.itemsize)
    saved = (*((b.storage,) if a.node else ()), *((a.storage,) if b.node else ()))
    edges = [
        replace(e, scratch_bytes=0 if x.nbytes == size * width else size * width)
        for x in (a, b)
        for e in tape.edge(x, 0.0, size * width)
    ]
    cost = Cost(0.0, a.nbytes + b.nbytes + size * width)
    return tape.emit(size, edges, cost, saved=saved, itemsize=width)


def add_in_place(tape: Tape, a: Tensor, b: Tensor) -> Tensor:
    """Sum written over the first tensor."""
    edges = (*tape.alias(a), *tape.alias(b))
    cost = Cost(0.0, 3.0 * a.nbytes)
    return tape.emit(a.elements, edges, cost, itemsize=a.itemsize, storage=a.storage)


def copy(tape: Tape, x: Tensor) -> Tensor:
    """Same numbers in a new layout; the gradient needs no copy."""
    cost = Cost(0.0, 2.0 * x.nbytes)
    return tape.emit(x.elements, tape.alias(x), cost, itemsize=x.itemsize)


def join(tape: Tape, a: Tensor, b: Tensor) -> Tensor:
    """Copy two tensors into one; their gradients are views of its gradient."""
    size = a.elements + b.elements
    edges = (*tape.alias(a), *tape.alias(b))
    return tape.emit(size, edges, Cost(0.0, 2.0 * size * a.itemsize), itemsize=a.itemsize)


def cast(tape: Tape, x: Tensor, itemsize: int) -> Tensor:
    """Change the type; nothing happens where it fits already."""
    return x if x.itemsize == itemsize else elementwise(tape, (x,), itemsize=itemsize)


def frozen_weights(tape: Tape) -> Storage:
    """What an operation saves of frozen weights: nothing that is not there already."""
    return Storage(tape, 0)


def matmul(tape: Tape, a: Tensor, b: Tensor, elements: int, inner: int) -> Tensor:
    """Batched product with `elements` outputs, each a sum of `inner` terms."""
    flops = 2.0 * elements * inner
    out = elements * a.itemsize
    saved = (*((b.storage,) if a.node else ()), *((a.storage,) if b.node else ()))
    edges = (*tape.edge(a, flops, b.nbytes + out), *tape.edge(b, flops, a.nbytes + out))
    cost = Cost(flops, a.nbytes + b.nbytes + out)
    return tape.emit(elements, edges, cost, saved=saved, itemsize=a.itemsize)


def saves_output(tape: Tape, x: Tensor) -> Tensor:
    """An elementwise operation whose gradient needs its output, such as tanh or softmax."""
    held = Storage(tape, x.nbytes)
    edges = tape.edge(x, 0.0, 2 * x.nbytes)
    cost = Cost(0.0, 2.0 * x.nbytes, functions=x.elements)
    return tape.emit(x.elements, edges, cost, saved=(held,), itemsize=x.itemsize, storage=held)


def scaled(tape: Tape, x: Tensor) -> Tensor:
    """A tensor times a number."""
    return elementwise(tape, (x,))


# The steps of ``c tanh(x / c)``; a caller takes them one by one, so that each input can go.
CAP = (scaled, saves_output, scaled)


def dropout(tape: Tape, x: Tensor, active: bool) -> Tensor:
    """Dropout; its mask is kept, of one byte a number only on a GPU."""
    if not active:
        return x
    mask = Storage(tape, x.elements if tape.fused else x.nbytes)
    cost = Cost(0.0, 2.0 * x.nbytes + mask.nbytes, random_numbers=x.elements)
    edges = tape.edge(x, 0.0, x.nbytes + mask.nbytes)
    return tape.emit(x.elements, edges, cost, saved=(mask,), itemsize=x.itemsize)


def activate(tape: Tape, x: Tensor, name: str) -> Tensor:
    """Activation function by its Hugging Face name."""
    if name in ("gelu_new", "gelu_fast"):
        return _composed_gelu(tape, x)
    if name == "relu":
        return saves_output(tape, x)
    return elementwise(tape, (x,), saved=(x.storage,), functions=x.elements)


def _composed_gelu(tape: Tape, x: Tensor) -> Tensor:
    """``0.5 x (1 + tanh(c (x + a x^3)))``, built of elementary operations."""
    half = elementwise(tape, (x,))
    return multiply(tape, half, _one_plus_tanh(tape, x))


def _one_plus_tanh(tape: Tape, x: Tensor) -> Tensor:
    return copy(tape, saves_output(tape, _tanh_argument(tape, x)))


def _tanh_argument(tape: Tape, x: Tensor) -> Tensor:
    return elementwise(tape, (add(tape, x, _scaled_cube(tape, x)),))


def _scaled_cube(tape: Tape, x: Tensor) -> Tensor:
    return elementwise(tape, (elementwise(tape, (x,), saved=(x.storage,)),))


def softmax(tape: Tape, x: Tensor, wide: bool) -> Tensor:
    """Softmax, in 32 bits where asked."""
    if not wide or x.itemsize == FP32_BYTES:
        return saves_output(tape, x)
    return cast(tape, saves_output(tape, cast(tape, x, FP32_BYTES)), x.itemsize)


def fused_attention(
    tape: Tape,
    inputs: tuple[Tensor, Tensor, Tensor],
    mask: Tensor,
    *,
    scores: int,
    head_size: int,
    elements: int,
) -> Tensor:
    """Attention in one kernel that recomputes the scores for the gradient.

    Query, key, value, output, mask and one number a row of scores are kept; the gradient
    takes five matrix products where the forward pass takes two.

    Parameters
    ----------
    tape : Tape
        The tape.
    inputs : tuple of Tensor
        Query, key and value.
    mask : Tensor
        Added to the scores.
    scores : int
        Number of scores, B * h * S * S.
    head_size : int
        Width of a head, d.
    elements : int
        Size of the output, B * S * h * d.
    """
    flops = 4.0 * scores * head_size
    output = Storage(tape, elements * tape.itemsize)
    row_sums = Storage(tape, elements // head_size * FP32_BYTES)
    moved = sum(x.nbytes for x in inputs) + output.nbytes + mask.nbytes
    edges = [e for x in inputs for e in tape.edge(x, 0.0, x.nbytes)]
    if edges:
        edges[0] = replace(edges[0], cost=Cost(2.5 * flops, 2.0 * moved))
    saved = (*(x.storage for x in inputs), output, row_sums, mask.storage)
    return tape.emit(elements, edges, Cost(flops, moved), saved=saved, storage=output)
