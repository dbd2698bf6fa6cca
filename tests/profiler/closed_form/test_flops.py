"""Arithmetic by closed form against torch's own count of a real step."""

from pathlib import Path

import pytest
from torch.utils.flop_counter import FlopCounterMode

from profiler.adapters import Step, adapt, make_batch
from profiler.checkpoint import build
from profiler.closed_form.simulate import simulate_step
from profiler.schema import Training
from tests.profiler.closed_form.counted import EXACT, PLAIN, Case


# torch counts no attention that a fused kernel does.
@pytest.mark.parametrize("family", EXACT)
def test_every_product_of_matrices_is_counted(family: str, tmp_path: Path) -> None:
    case = Case(tmp_path, family, Training(**PLAIN, attention="eager"))
    model = build(case.checkpoint, case.training, meta=False)
    config = model.config
    ranks = [0, 3, 4]
    adapted = adapt(model, case.anatomy, ranks, case.training)
    batch = make_batch(config.vocab_size, config.pad_token_id, case.training)
    step = Step(adapted, batch, case.training)
    with FlopCounterMode(display=False) as forward:
        loss = step.forward()
    with FlopCounterMode(display=False) as backward:
        step.backward(loss)
    derived = simulate_step(case.setting, ranks)
    parts = (derived.embedding, *derived.layers, derived.head)
    assert sum(cost.flops for part in parts for cost in part) == forward.get_total_flops()
    assert sum(cost.flops for cost in derived.backward) == backward.get_total_flops()
