"""Symbolic training: what a forward and backward pass costs, from shapes alone.

Layers written on a `Tape` read like their PyTorch originals, but a tensor here is only a
size. The tape records the arithmetic and memory traffic of every operation, what autograd
would keep for the backward pass, and the bytes alive. Lifetimes need no model: a symbolic
storage dies when Python drops its last reference, which is when torch would free it.

Neither torch nor numpy is needed.
"""

import heapq
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from profiler.closed_form.graph import Cost, Edge, Meter, Node, Storage, Tensor, upstream

__all__ = ["Cost", "Edge", "Storage", "Tape", "Tensor"]

FP32_BYTES = 4


class _Repeated(Exception):
    """A part of the model ran again as far as something of it is missing."""


@dataclass(slots=True, kw_only=True)
class _Repetition:
    """A part that runs again: what it saves, by the place of the operation in it."""

    first: int
    last: int
    saved: dict[int, tuple[Storage, ...]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Tape(Meter):
    """Recorder of one pass.

    Attributes
    ----------
    itemsize : int
        Bytes of a number in the compute type.
    fused : bool
        Whether kernels are those of a GPU (masks of one byte, attention fused with dropout).
    forward, backward : list of Cost
        Kernels run, in order.
    """

    itemsize: int
    fused: bool
    forward: list[Cost] = field(default_factory=list)
    backward: list[Cost] = field(default_factory=list)
    gradients: list[Storage] = field(default_factory=list)
    saving: bool = True
    _order: int = 0
    _last_saving: int = 0
    _repetition: _Repetition | None = None

    def source(self, elements: int, itemsize: int = 0) -> Tensor:
        """A tensor that nothing trained has touched."""
        width = itemsize or self.itemsize
        return Tensor(Storage(self, elements * width), elements, width, None)

    def edge(
        self, x: Tensor, flops: float, other_bytes: int, *, viewed: bool = False
    ) -> tuple[Edge, ...]:
        """Edge to `x` that allocates its gradient; none where `x` needs no gradient."""
        if x.node is None:
            return ()
        cost = Cost(flops, x.nbytes + other_bytes)
        return (Edge(x.node, x.nbytes, cost, viewed=viewed),)

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
        tied: bool = False,
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
        tied : bool
            Whether the gradient adds to that of an operation with the same weights.
        """
        width = itemsize or self.itemsize
        recorded = bool(edges or weights_bytes)
        if recorded:
            self._note(tuple(saved))
        held = storage or Storage(self, elements * width)
        self.forward.append(cost)
        if not recorded:
            return Tensor(held, elements, width, None)
        kept = tuple(saved) if self.saving else ()
        node = Node(self._order, tuple(edges), kept, weights_bytes, weights_cost)
        node.tied = tied
        return Tensor(held, elements, width, node)

    def _note(self, saved: tuple[Storage, ...]) -> None:
        """Number an operation; end a repetition where the last thing is saved again."""
        self._order += 1
        self._last_saving = self._order if saved else self._last_saving
        if self._repetition is not None:
            place = self._order - self._repetition.first
            self._repetition.saved[place] = saved
            if place == self._repetition.last:
                raise _Repeated

    def split(self, x: Tensor, parts: int) -> list[Tensor]:
        """Views of equal size; their gradients are gathered, then joined into one tensor."""
        size = x.elements // parts
        joined = self.emit(
            x.elements, self.edge(x, 0.0, x.nbytes), Cost(0.0, 0.0), storage=x.storage
        )
        if joined.node is not None:
            joined.node.gathers = True
        return [Tensor(x.storage, size, x.itemsize, joined.node) for _ in range(parts)]

    def checkpoint(self, run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Run a part of the model so that the backward pass repeats it.

        Autograd keeps the input alone. Where the walk back arrives, the part runs again and
        its operations find what they would have saved. It ends before the last of them that
        saves anything (torch's checkpoints stop early).
        """
        first = self._order
        self.saving = False
        out = run(x)
        self.saving = True
        if out.node is not None:
            nodes, last = upstream(out.node, first), self._last_saving - first
            # What the part needs to run again stays until all its gradients are there.
            nodes[-1].saved, nodes[-1].holds = (x.storage,), run
            out.node.again = lambda: self._repeat(run, x, nodes, last)
        return out

    def _repeat(
        self, run: Callable[[Tensor], Tensor], x: Tensor, nodes: list[Node], last: int
    ) -> None:
        """Run a part again; its work counts as backward work."""
        done, self.forward = self.forward, self.backward
        self._repetition = repetition = _Repetition(first=self._order, last=last)
        with suppress(_Repeated):
            run(x)
        self.backward, self.forward, self._repetition = self.forward, done, None
        first = nodes[-1].order - 1
        for node in nodes:
            node.saved = (*node.saved, *repetition.saved.get(node.order - first, ()))

    def run_backward(self, loss: Tensor) -> None:
        """Walk the graph from the loss as autograd does, newest operation first.

        The graph is taken apart on the way, so that its storages die.
        """
        if loss.node is None:
            return
        gradients = {loss.node: [Storage(self, loss.nbytes)]}
        queue = [(-loss.node.order, loss.node)]
        del loss
        while queue:
            _, node = heapq.heappop(queue)
            passed = self._step(node, gradients.pop(node))
            while passed:
                self._hand_on(gradients, queue, *passed.pop(0))

    def _hand_on(
        self,
        gradients: dict[Node, list[Storage]],
        queue: list[tuple[int, Node]],
        target: Node,
        gradient: Storage,
    ) -> None:
        """Give a gradient to an operation, adding it to what is there."""
        if target not in gradients:
            gradients[target] = [gradient]
            heapq.heappush(queue, (-target.order, target))
        elif target.gathers:
            gradients[target].append(gradient)
        else:
            self._accumulate(gradients[target], gradient)

    def _step(self, node: Node, gradient: list[Storage]) -> list[tuple[Node, Storage]]:
        """Gradients of one operation's inputs; its saved tensors are released."""
        if node.again is not None:
            node.again()
            node.again = None
        passed = [(edge.node, self._gradient(edge, gradient[0])) for edge in node.edges]
        if node.weights_bytes:
            gradient_of_weights = Storage(self, node.weights_bytes)
            if not node.tied:
                self.gradients.append(gradient_of_weights)
            if node.weights_cost:
                self.backward.append(node.weights_cost)
        node.edges, node.saved, node.holds = (), (), None
        return passed

    def _gradient(self, edge: Edge, gradient: Storage) -> Storage:
        if edge.alias:
            return gradient
        self.backward.extend((*edge.before, edge.cost))
        scratch = Storage(self, edge.scratch_bytes)
        result = Storage(self, edge.nbytes, viewed=edge.viewed)
        del scratch
        return result

    def _accumulate(self, held: list[Storage], gradient: Storage) -> None:
        """Add up two gradients, in place where the first is nobody else's and no view."""
        self.backward.append(Cost(0.0, 3.0 * gradient.nbytes))
        # Two references are the list's and the one that counts them.
        if held[0].viewed or sys.getrefcount(held[0]) > 2:
            held[0] = Storage(self, gradient.nbytes)
