"""A short training of the task head alone, on outputs of the frozen base computed once.

A head at its random start sends gradients in random directions into the layers; what they
are worth shows once the head reads something from them.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from profiler.adapters import Batch
from profiler.gain.data import Text
from profiler.gain.training import Bench

__all__ = ["WARMUP_STEPS", "warm_head"]

WARMUP_STEPS = 60


class _Replay(nn.Module):
    """Stands in for the base model: gives back the output it is told to."""

    output: Any = None

    def forward(self, *_: object, **__: object) -> Any:
        """Return the output, whatever is asked."""
        return self.output


def warm_head(bench: Bench, text: Text, steps: int = WARMUP_STEPS) -> None:
    """Train the head of `bench` in place for `steps` steps; without a head, do nothing."""
    model, prefix = bench.base, bench.base.base_model_prefix
    if not bench.anatomy.model.head_modules:
        return
    body, replay = model.base_model, _Replay()
    batches = [bench.place(batch) for batch in text.ordered(bench.training.batch_size)]
    outputs = [_output(body, batch) for batch in batches]

    def turns() -> Iterator[Batch]:
        order = torch.Generator().manual_seed(bench.seed)
        while True:
            for index in torch.randperm(len(batches), generator=order).tolist():
                replay.output = outputs[index]
                yield batches[index]

    heads = [model.get_submodule(name) for name in bench.anatomy.model.head_modules]
    setattr(model, prefix, replay)
    try:
        for head in heads:
            head.requires_grad_(True)
        bench.train(model, turns(), steps)
    finally:
        model.requires_grad_(False)
        setattr(model, prefix, body)


def _output(body: nn.Module, batch: Batch) -> Any:
    body.eval()
    with torch.no_grad():
        return body(**{name: tensor for name, tensor in batch.items() if name != "labels"})
