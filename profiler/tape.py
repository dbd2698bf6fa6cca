"""Symbolic training: what a forward and backward pass costs, from shapes alone.

Layers written on a `Tape` read like their PyTorch originals, but a tensor here is only a
size. The tape records the arithmetic and memory traffic of every operation, what autograd
would keep for the backward pass, and the bytes alive. Lifetimes need no model: a symbolic
storage dies when Python drops its last reference, which is when torch would free it.

Neither torch nor numpy is needed.
"""

import heapq
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Cost", "Edge", "Storage", "Tape", "Tensor"]

FP32_BYTES = 4


@dataclass(frozen=True, slots=True)
class Cost:
    """Work of one kernel."""

    flops: float
    traffic_bytes: float


class Storage:
    """Bytes that live as long as this object does."""

    __slots__ = ("nbytes", "tape")

    def __init__(self, tape: "Tape", nbytes: int) -> None:
        self.tape = tape
        self.nbytes = nbytes
        tape.live_bytes += nbytes
        tape.peak_bytes = max(tape.peak_bytes, tape.live_bytes)

    def __del__(self) -> None:
        self.tape.live_bytes -= self.nbytes


class Node:
    """An operation that autograd remembers."""

    __slots__ = ("edges", "order", "saved", "weights_bytes", "weights_cost")

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

    @property
    def needs_gradient(self) -> bool:
        """Whether something trained lies upstream."""
        return self.node is not None


@dataclass(frozen=True, slots=True)
class Edge:
    """How a gradient flows to an input of an operation.

    ``alias`` passes the gradient on as it is (additions, views), so nothing is allocated.
    """

    node: Node
    nbytes: int
    cost: Cost
    alias: bool = False


@dataclass(slots=True)
class Tape:
    """Recorder of one pass.

    Attributes
    ----------
    itemsize : int
        Bytes of a number in the compute type.
    fused : bool
        Whether kernels are those of a GPU (masks of one byte, attention fused with dropout).
    recording : bool
        Whether autograd records.
    live_bytes, peak_bytes : int
        Bytes alive now, and the most since the peak was reset.
    forward, backward : list of Cost
        Kernels run, in order.
    """

    itemsize: int
    fused: bool
    recording: bool = True
    live_bytes: int = 0
    peak_bytes: int = 0
    forward: list[Cost] = field(default_factory=list)
    backward: list[Cost] = field(default_factory=list)
    gradients: list[Storage] = field(default_factory=list)
    _order: int = 0

    def source(self, elements: int, itemsize: int = 0) -> Tensor:
        """A tensor that nothing trained has touched."""
        width = itemsize or self.itemsize
        return Tensor(Storage(self, elements * width), elements, width, None)

    def edge(self, x: Tensor, flops: float, other_bytes: int) -> tuple[Edge, ...]:
        """Edge to `x` that allocates its gradient; none where `x` needs no gradient."""
        if x.node is None:
            return ()
        return (Edge(x.node, x.nbytes, Cost(flops, x.nbytes + other_bytes)),)

    def alias(self, x: Tensor) -> tuple[Edge, ...]:
        """Edge to `x` that hands on the gradient itself."""
        return () if x.node is None else (Edge(x.node, x.nbytes, Cost(0.0, 0.0), alias=True),)

    def emit(
        self,
        elements: int,
        edges: Sequence[Edge],
        cost: Cost,
        *,
        saved: Sequence[Storage] = (),
        itemsize: int = 0,
        storage: Storage | None = None,
        weights_bytes: int = 0,
        weights_cost: Cost | None = None,
    ) -> Tensor:
        """Run an operation.

        Parameters
        ----------
        elements : int
            Size of the output.
        edges : sequence of Edge
            Where gradients go; none means autograd records nothing.
        cost : Cost
            Forward work.
        saved : sequence of Storage
            What autograd keeps if it records this operation.
        itemsize : int
            Bytes of a number of the output; the tape's by default.
        storage : Storage, optional
            Set for a view, which shares it.
        weights_bytes : int
            Gradient of trained weights used here; they make the output need a gradient.
        weights_cost : Cost, optional
            Work of that gradient.
        """
        width = itemsize or self.itemsize
        held = storage or Storage(self, elements * width)
        self.forward.append(cost)
        if not self.recording or not (edges or weights_bytes):
            return Tensor(held, elements, width, None)
        self._order += 1
        kept = list(saved)
        node = Node(self._order, tuple(edges), tuple(kept), weights_bytes, weights_cost)
        return Tensor(held, elements, width, node)

    def run_backward(self, loss: Tensor) -> None:
        """Walk the graph from the loss as autograd does, newest operation first.

        The graph is taken apart on the way, so that its storages die.
        """
        if loss.node is None:
            return
        gradients = {loss.node: Storage(self, loss.nbytes)}
        queue = [(-loss.node.order, loss.node)]
        del loss
        while queue:
            _, node = heapq.heappop(queue)
            for target, gradient in self._step(node, gradients.pop(node)):
                if target in gradients:
                    self._accumulate(gradients, target, gradient)
                else:
                    gradients[target] = gradient
                    heapq.heappush(queue, (-target.order, target))

    def _step(self, node: Node, gradient: Storage) -> list[tuple[Node, Storage]]:
        """Gradients of one operation's inputs; its saved tensors are released."""
        passed = []
        for edge in node.edges:
            if not edge.alias:
                self.backward.append(edge.cost)
            passed.append(
                (edge.node, gradient if edge.alias else Storage(self, edge.nbytes))
            )
        if node.weights_bytes:
            self.gradients.append(Storage(self, node.weights_bytes))
            if node.weights_cost:
                self.backward.append(node.weights_cost)
        node.edges, node.saved = (), ()
        return passed

    def _accumulate(
        self, gradients: dict[Node, Storage], target: Node, gradient: Storage
    ) -> None:
        """Add up two gradients, in place where nobody else holds the first."""
        self.backward.append(Cost(0.0, 3.0 * gradient.nbytes))
        shared = sys.getrefcount(gradients[target]) > 2
        if shared:
            gradients[target] = Storage(self, gradient.nbytes)
