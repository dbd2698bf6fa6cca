"""What a symbolic pass is made of: storages, tensors, and the graph that autograd keeps.

`profiler.closed_form.tape` records them.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """Work of one kernel: arithmetic of products, bytes moved, and numbers that take longer.

    ``functions`` counts exponentials and the like, ``random_numbers`` those drawn for dropout.
    """

    flops: float
    traffic_bytes: float
    functions: int = 0
    random_numbers: int = 0


@dataclass(slots=True, kw_only=True)
class Meter:
    """Bytes alive now, and the most since the peak was reset."""

    live_bytes: int = 0
    peak_bytes: int = 0


class Storage:
    """Bytes that live as long as this object does."""

    __slots__ = ("meter", "nbytes", "viewed")

    def __init__(self, meter: Meter, nbytes: int, *, viewed: bool = False) -> None:
        self.meter = meter
        self.nbytes = nbytes
        self.viewed = viewed
        meter.live_bytes += nbytes
        meter.peak_bytes = max(meter.peak_bytes, meter.live_bytes)

    def __del__(self) -> None:
        self.meter.live_bytes -= self.nbytes


class Node:
    """An operation that autograd remembers."""

    __slots__ = (
        "again",
        "edges",
        "gathers",
        "holds",
        "order",
        "saved",
        "tied",
        "weights_bytes",
        "weights_cost",
    )

    def __init__(
        self,
        order: int,
        edges: tuple["Edge", ...],
        saved: tuple[Storage, ...],
        weights_bytes: int = 0,
        weights_cost: Cost | None = None,
    ) -> None:
        self.order = order
        self.edges = edges
        self.saved = saved
        self.weights_bytes = weights_bytes
        self.weights_cost = weights_cost
        self.gathers = False
        self.tied = False
        self.again: Callable[[], None] | None = None
        self.holds: object = None


@dataclass(frozen=True, slots=True)
class Tensor:
    """A shape: `elements` numbers of `itemsize` bytes, in a storage that views may share."""

    storage: Storage
    elements: int
    itemsize: int
    node: Node | None

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers themselves."""
        return self.elements * self.itemsize


@dataclass(frozen=True, slots=True)
class Edge:
    """How a gradient flows to an input of an operation.

    ``alias`` passes the gradient on as it is (additions, views), so nothing is allocated.
    ``scratch_bytes`` are needed while it is computed, as for a broadcast factor.
    ``viewed`` gradients come as a view of another shape, as from linear layers: autograd
    never adds to those in place. ``before`` are kernels that make what the gradient needs.
    """

    node: Node
    nbytes: int
    cost: Cost
    alias: bool = False
    scratch_bytes: int = 0
    viewed: bool = False
    before: tuple[Cost, ...] = ()


def upstream(node: Node, first: int) -> list[Node]:
    """Operations from `node` back to those recorded after the `first`; newest first."""
    found = {node.order: node}
    pending = [node]
    while pending:
        for edge in pending.pop().edges:
            if edge.node.order > first and edge.node.order not in found:
                found[edge.node.order] = edge.node
                pending.append(edge.node)
    return [found[order] for order in sorted(found, reverse=True)]
