"""What the real allocator does during a training step: peak and saved activations, in bytes.

Independent of the profiler's own counting: torch's allocator reports every block that it gives
out and takes back to torch.profiler.
"""

from collections.abc import Callable, Iterator
from itertools import accumulate

from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from profiler.adapters import Step, adapt, make_batch
from profiler.checkpoint import build
from profiler.survey import Survey

__all__ = ["prepare", "real_peak_bytes", "real_saved_bytes"]


def prepare(found: Survey, ranks: list[int]) -> Step:
    """Build a real step of a configuration, with optimizer state."""
    checkpoint, training = found.checkpoint, found.training
    model = adapt(build(checkpoint, training, meta=False), found.anatomy, ranks, training)
    config = model.get_base_model().config
    step = Step(model, make_batch(config.vocab_size, config.pad_token_id, training), training)
    step.run()
    return step


def real_peak_bytes(step: Step) -> int:
    """Peak of a step: what is held between steps, and the most the allocator adds to it."""
    sizes = (t.untyped_storage() for t in _held(step))
    held = sum({s.data_ptr(): s.nbytes() for s in sizes}.values())
    return held + max(accumulate(_changes_bytes(step.run), initial=0))


def real_saved_bytes(step: Step) -> int:
    """What a forward pass leaves behind for the backward pass, its loss included."""
    # The graph lives as long as the loss.
    kept: list[Tensor] = []
    return sum(_changes_bytes(lambda: kept.append(step.forward())))


def _changes_bytes(run: Callable[[], None]) -> list[int]:
    """What the allocator gives out (above 0) and takes back during a run, in order."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as session:
        run()
    assert session.profiler is not None
    results = session.profiler.kineto_results
    assert results is not None
    events = [e for e in results.events() if e.name() == "[memory]"]
    return [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]


def _held(step: Step) -> Iterator[Tensor]:
    """All that lives between steps."""
    yield from step.model.parameters()
    yield from step.model.buffers()
    yield from step.batch.values()
    if step.optimizer is not None:
        for state in step.optimizer.state.values():
            yield from (value for value in state.values() if isinstance(value, Tensor))
