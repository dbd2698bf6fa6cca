"""The frozen layers below a device's first adapted one: run once, then stood in for.

Below the first adapted layer everything is frozen and bare, so what leaves it is a constant
of the batch, dropout aside. `Prefix.states` runs a model up to there and stops; under
`Prefix.standing_in` the lower layers give back such states instead of computing them. The
model itself makes the embeddings, masks, positions and whatever else its layers share, as
ever, so nothing here knows a family. That a model's layers hand on nothing but hidden states
and those shared inputs is checked, bit for bit, when a prefix is made.

Shapes: B examples, S tokens, H hidden size.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from finetune.data.tokens import Batch
from solver.plan import InputError

__all__ = ["Prefix"]


class _Reached(Exception):
    """The model has come as far as it is needed."""


class Prefix:
    """The lower layers of a model.

    Parameters
    ----------
    model : nn.Module
        Called with batches; its own module tree, whose layers may be stood in for.
    blocks : nn.ModuleList
        All of its layers, input first.
    first : int
        Index of the first adapted layer, 1 or more; L where the head alone trains.
    vocabulary : int
        Token ids run below it.

    Raises
    ------
    InputError
        If the layers above need more of the lower ones than their hidden states.
    """

    def __init__(
        self, model: nn.Module, blocks: nn.ModuleList, first: int, vocabulary: int
    ) -> None:
        self._model = model
        self._lower = list(blocks)[:first]
        self._upper = blocks[first] if first < len(blocks) else None
        self._others: int | None = None
        probe = _probe(vocabulary)
        modes = {module: module.training for module in model.modules()}
        model.eval()
        self._frozen = self._trace(probe)
        self._check(probe)
        for module, training in modes.items():
            module.training = training

    def freeze_dropout(self) -> None:
        """Put all that runs before the first adapted layer into eval mode."""
        for module in self._frozen:
            module.eval()

    def states(self, batch: Batch) -> Tensor:
        """Hidden states (B, S, H) that leave the lower layers; needs `freeze_dropout`."""
        reached: list[Tensor] = []

        def stop(module: nn.Module, args: Any, output: Any) -> None:
            self._others = len(output) - 1 if isinstance(output, tuple) else None
            reached.append(output[0] if isinstance(output, tuple) else output)
            raise _Reached

        handle = self._lower[-1].register_forward_hook(stop)
        try:
            with torch.no_grad(), contextlib.suppress(_Reached):
                self._model(**_without_labels(batch))
        finally:
            handle.remove()
        return reached[0]

    @contextlib.contextmanager
    def standing_in(self, states: Tensor) -> Iterator[None]:
        """Let the lower layers give `states` (B, S, H), from the same batch, in this block."""
        output = states if self._others is None else (states, *[None] * self._others)

        def stand_in(*args: Any, **kwargs: Any) -> Any:
            return output

        # An attribute of the module hides its class's method, for callers of the module too.
        for block in self._lower:
            vars(block)["forward"] = stand_in
        try:
            yield
        finally:
            for block in self._lower:
                del vars(block)["forward"]

    def _trace(self, probe: Batch) -> list[nn.Module]:
        """Modules that are done once the first adapted layer starts."""
        done: list[nn.Module] = []

        def note(module: nn.Module, args: Any, output: Any) -> None:
            done.append(module)
            if self._upper is None and module is self._lower[-1]:
                raise _Reached

        def stop(module: nn.Module, args: Any) -> None:
            raise _Reached

        handles = [module.register_forward_hook(note) for module in self._model.modules()]
        if self._upper is not None:
            handles.append(self._upper.register_forward_pre_hook(stop))
        try:
            with torch.no_grad(), contextlib.suppress(_Reached):
                self._model(**probe)
        finally:
            for handle in handles:
                handle.remove()
        return done

    def _check(self, probe: Batch) -> None:
        """Refuse a model that answers otherwise when its lower layers are stood in for."""
        states = self.states(probe)
        before = states.clone()
        with torch.no_grad():
            whole = self._model(**probe).logits
            with self.standing_in(states):
                short = self._model(**probe).logits
        if not (torch.equal(whole, short) and torch.equal(states, before)):
            raise InputError(
                f"{type(self._model).__name__}: its layers hand on more than hidden states, so "
                "a prefix cache would change what it computes; plan with --cache off"
            )


def _without_labels(batch: Batch) -> Batch:
    return {name: tensor for name, tensor in batch.items() if name != "labels"}


def _probe(vocabulary: int) -> Batch:
    """Two examples of different length, as padding is where models differ."""
    ids = torch.arange(1, 11).remainder(vocabulary).reshape(2, 5)
    mask = torch.ones_like(ids)
    mask[1, 3:] = 0
    return {"input_ids": ids, "attention_mask": mask}
