"""Memory counted without running is what torch's own allocator says of a real step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from profiler.adapters import Step, adapt, make_batch, trainable
from profiler.anatomy import examine
from profiler.checkpoint import build, open_checkpoint, settle
from profiler.memory.count import probe
from profiler.schema import Training
from tests.profiler.tiny_models import FAMILIES, model_folder

pytestmark = pytest.mark.usefixtures("one_thread")
# Three scalars that AdamW's kernel makes for a moment.
OPTIMIZER_BYTES = 12


def allocator_bytes(call: Callable[[], Any], start: int) -> tuple[int, int]:
    """Bytes held after `call` and at its peak, by the events of torch's CPU allocator."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        call()
    held = peak = start
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return held, peak


def bytes_of(tensors: Any) -> int:
    return sum(t.untyped_storage().nbytes() for t in tensors if isinstance(t, Tensor))


@pytest.mark.parametrize("dropout", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_phase_is_counted_to_the_byte(family: str, dropout: bool, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(model_folder(family, tmp_path))
    setup = Training(batch_size=3, sequence_length=16, dropout=dropout)
    training, _ = settle(checkpoint, setup)
    anatomy, ranks = examine(checkpoint, training), [8, 16, 4]
    counted = probe(checkpoint, anatomy, training, ranks)
    model = adapt(build(checkpoint, training, meta=False), anatomy, ranks, training)
    config = model.get_base_model().config
    step = Step(model, make_batch(config.vocab_size, config.pad_token_id, training), training)
    step.run()
    assert step.optimizer is not None
    state = [t for entry in step.optimizer.state.values() for t in entry.values()]
    start = bytes_of(trainable(model)) + bytes_of(state) + bytes_of(step.batch.values())
    kept: list[Tensor] = []
    held, peak = allocator_bytes(lambda: kept.append(step.forward()), start)
    assert (held - start, peak) == (counted.saved_bytes, counted.forward_bytes)
    _, peak = allocator_bytes(lambda: step.backward(kept[0]), held)
    assert peak == counted.backward_bytes
    kept.clear()
    start += bytes_of(p.grad for p in trainable(model))
    _, peak = allocator_bytes(step.update, start)
    assert peak - counted.optimizer_bytes == OPTIMIZER_BYTES
