"""The operations that a micro-benchmark times, in numpy and, where it is there, in torch.

Sizes are those of LoRA training: products of a layer, of attention heads and of a low rank;
streams that fit a cache and streams that do not; the functions of activations and softmax;
random numbers for dropout.

Work that training frameworks share out over threads is shared out here too. Random numbers
are not: torch draws them from one serial generator on a CPU.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from profiler.microbench.file import Backend, Kind

__all__ = ["Operation", "Team", "numpy_operations", "torch_operations"]

FLOAT_BYTES = 4
# Rows, inner width, columns.
PRODUCTS = (
    (1024, 384, 8),
    (1024, 8, 384),
    (256, 768, 768),
    (1024, 384, 384),
    (1024, 384, 1536),
    (1024, 768, 3072),
)
# Heads of a batch, tokens, width of a head: scores of attention.
HEADS = (192, 64, 32)
STREAM_BYTES = (2**20, 2**23, 2**26)
FUNCTION_ELEMENTS = 2**20
RANDOM_ELEMENTS = 2**18
DROPOUT = 0.1

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Something to time: a call without arguments, and its work."""

    name: str
    backend: Backend
    kind: Kind
    flops: float = 0.0
    traffic_bytes: float
    elements: int
    call: Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Calls:
    """One library's way to do each kind of work."""

    backend: Backend
    product: Callable[[int, int, int], Callable[[], object]]
    heads: Callable[[int, int, int], Callable[[], object]]
    copy: Callable[[int], Callable[[], object]]
    functions: dict[str, Callable[[], object]]
    random: Callable[[], object]


def _operations(calls: _Calls) -> list[Operation]:
    heads, tokens, width = HEADS
    scores = heads * tokens * tokens
    return [
        *(_product(calls, m, k, n) for m, k, n in PRODUCTS),
        Operation(
            name=f"product {heads} of {tokens} x {width} x {tokens}",
            backend=calls.backend,
            kind="product",
            flops=2.0 * scores * width,
            traffic_bytes=FLOAT_BYTES * (2.0 * heads * tokens * width + scores),
            elements=scores,
            call=calls.heads(heads, tokens, width),
        ),
        *(_copy(calls, size) for size in STREAM_BYTES),
        *(_function(calls, name) for name in calls.functions),
        Operation(
            name="random",
            backend=calls.backend,
            kind="random",
            traffic_bytes=FLOAT_BYTES * RANDOM_ELEMENTS,
            elements=RANDOM_ELEMENTS,
            call=calls.random,
        ),
    ]


def _product(calls: _Calls, m: int, k: int, n: int) -> Operation:
    return Operation(
        name=f"product {m} x {k} x {n}",
        backend=calls.backend,
        kind="product",
        flops=2.0 * m * k * n,
        traffic_bytes=FLOAT_BYTES * float(m * k + k * n + m * n),
        elements=m * n,
        call=calls.product(m, k, n),
    )


def _copy(calls: _Calls, size: int) -> Operation:
    return Operation(
        name=f"copy {size / 2**20:g} MiB",
        backend=calls.backend,
        kind="copy",
        traffic_bytes=2.0 * size,
        elements=size // FLOAT_BYTES,
        call=calls.copy(size // FLOAT_BYTES),
    )


def _function(calls: _Calls, name: str) -> Operation:
    return Operation(
        name=name,
        backend=calls.backend,
        kind="function",
        traffic_bytes=2.0 * FLOAT_BYTES * FUNCTION_ELEMENTS,
        elements=FUNCTION_ELEMENTS,
        call=calls.functions[name],
    )


def numpy_operations(threads: int, seed: int) -> list[Operation]:
    """Operations in numpy, whose BLAS must be set to one thread: its own wait by spinning."""
    team = Team(threads)
    generator = np.random.Generator(np.random.MT19937(seed))

    def normal(*shape: int) -> Floats:
        return generator.standard_normal(shape, dtype=np.float32)

    def product(m: int, k: int, n: int) -> Callable[[], object]:
        a, b = normal(m, k), normal(k, n)
        return team.share(partial(_times, b), a, out=np.empty((m, n), np.float32))

    def heads(count: int, tokens: int, width: int) -> Callable[[], object]:
        a, b = normal(count, tokens, width), normal(count, width, tokens)
        return team.share(np.matmul, a, b, out=np.empty((count, tokens, tokens), np.float32))

    def copy(elements: int) -> Callable[[], object]:
        source = normal(elements)
        return team.share(_copy_into, source, out=np.empty_like(source))

    x, scratch = normal(FUNCTION_ELEMENTS), np.empty(FUNCTION_ELEMENTS, np.float32)
    drawn, kept = np.empty(RANDOM_ELEMENTS), np.empty(RANDOM_ELEMENTS, np.float32)

    def mask() -> None:
        generator.random(out=drawn)
        np.less(drawn, 1 - DROPOUT, out=kept, casting="unsafe")

    functions: dict[str, Callable[..., object]] = {"exp": np.exp, "tanh": np.tanh}
    return _operations(
        _Calls(
            backend="numpy",
            product=product,
            heads=heads,
            copy=copy,
            functions={
                **{name: team.share(f, x, out=scratch) for name, f in functions.items()},
                "gelu": team.share(_gelu, x, out=scratch),
            },
            random=mask,
        )
    )


def _times(b: Floats, a: Floats, *, out: Floats) -> None:
    np.matmul(a, b, out=out)


def _copy_into(source: Floats, *, out: Floats) -> None:
    np.copyto(out, source)


def _gelu(x: Floats, *, out: Floats) -> None:
    """``x (1 + tanh(c (x + a x^3))) / 2``, one pass of memory an operation."""
    np.multiply(x, x, out=out)
    np.multiply(out, np.float32(0.0356774), out=out)
    np.add(out, np.float32(0.7978846), out=out)
    np.multiply(out, x, out=out)
    np.tanh(out, out=out)
    np.add(out, np.float32(1.0), out=out)
    np.multiply(out, x, out=out)
    np.multiply(out, np.float32(0.5), out=out)


class Team:
    """Shares a call out over threads; numpy lets go of the interpreter while it computes."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(max(1, threads - 1))

    def share(
        self, call: Callable[..., object], *inputs: Floats, out: Floats
    ) -> Callable[[], object]:
        """`call` on slices of the first axis; the calling thread does its own share."""
        edges = np.linspace(0, len(out), self._threads + 1).astype(int)
        slices = [slice(a, b) for a, b in pairwise(edges)]
        own, *others = [([x[s] for x in inputs], out[s]) for s in slices]

        def run() -> None:
            waiting = [self._pool.submit(call, *xs, out=o) for xs, o in others]
            call(*own[0], out=own[1])
            for future in waiting:
                future.result()

        return run


def torch_operations(threads: int, seed: int) -> list[Operation]:
    """The same operations in torch, which shares them out itself."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(seed)

    def product(m: int, k: int, n: int) -> Callable[[], object]:
        # A linear module keeps its weights by output.
        a, b, out = torch.randn(m, k), torch.randn(n, k), torch.empty(m, n)
        return lambda: torch.mm(a, b.t(), out=out)

    def heads(count: int, tokens: int, width: int) -> Callable[[], object]:
        a, b = torch.randn(count, tokens, width), torch.randn(count, width, tokens)
        out = torch.empty(count, tokens, tokens)
        return lambda: torch.bmm(a, b, out=out)

    def copy(elements: int) -> Callable[[], object]:
        source = torch.randn(elements)
        out = torch.empty_like(source)
        return lambda: out.copy_(source)

    x, scratch = torch.randn(FUNCTION_ELEMENTS), torch.empty(FUNCTION_ELEMENTS)
    drawn = torch.empty(RANDOM_ELEMENTS)
    functions: Sequence[tuple[str, Callable[[], Any]]] = (
        ("exp", lambda: torch.exp(x, out=scratch)),
        ("tanh", lambda: torch.tanh(x, out=scratch)),
        ("gelu", lambda: torch.nn.functional.gelu(x)),
    )
    return _operations(
        _Calls(
            backend="torch",
            product=product,
            heads=heads,
            copy=copy,
            functions=dict(functions),
            random=lambda: drawn.bernoulli_(1 - DROPOUT),
        )
    )
