"""Memory by closed form against FakeTensor, which counts every tensor of a real step."""

from pathlib import Path
from typing import Any

import pytest

from profiler.closed_form.footprint import memory_by_closed_form
from profiler.closed_form.simulate import simulate_step
from profiler.probes import ranks_at
from profiler.schema import Training
from tests.profiler.closed_form.counted import EXACT, PLAIN, Case

BYTES = 256
SETUPS: list[dict[str, Any]] = [
    {"dropout": False},
    {"attention": "eager", "optimizer": "sgd"},
    {"dtype": "bfloat16"},
    {"gradient_checkpointing": True},
]


def check(case: Case, depth: int, rank: int, *, tolerance: float) -> None:
    expected = case.fake(depth, rank)
    step = simulate_step(case.setting, ranks_at(3, depth, rank))
    peak = max(step.forward_bytes, step.backward_bytes, step.optimizer_bytes)
    real = expected.peak_bytes - expected.frozen_bytes
    assert peak == pytest.approx(real, rel=tolerance, abs=BYTES)
    # Index tensors of the labels and masks, a few bytes each, are not followed.
    assert step.saved_bytes == pytest.approx(expected.saved_bytes, rel=1e-3, abs=1024)
    assert step.optimizer_bytes == pytest.approx(expected.optimizer_bytes, abs=BYTES)


@pytest.mark.parametrize("family", EXACT)
def test_closed_form_is_exact_in_the_default_setup(family: str, tmp_path: Path) -> None:
    case = Case(tmp_path, family, Training(**PLAIN))
    for depth, rank in ((1, 5), (3, 8)):
        check(case, depth, rank, tolerance=1e-4)


def test_closed_form_follows_disentangled_attention(tmp_path: Path) -> None:
    check(Case(tmp_path, "deberta-v2", Training(**PLAIN)), 2, 5, tolerance=0.002)


# transformers renames a method that memory.py's step calls by its older name.
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable`:FutureWarning")
@pytest.mark.parametrize("setup", SETUPS, ids=str)
@pytest.mark.parametrize("family", ["bert", "llama", "gemma2"])
def test_closed_form_follows_the_setup(
    family: str, setup: dict[str, Any], tmp_path: Path
) -> None:
    check(Case(tmp_path, family, Training(**PLAIN, **setup)), 2, 6, tolerance=0.001)


@pytest.mark.parametrize("family", ["roberta", "modernbert", "gpt2", "qwen2", "phi3", "opt"])
def test_closed_form_follows_the_targets(family: str, tmp_path: Path) -> None:
    case = Case(tmp_path, family, Training(**PLAIN), targets=("all-linear",))
    check(case, 2, 6, tolerance=0.001)


@pytest.mark.parametrize("family", ["llama", "gemma2", "granite"])
def test_causal_models_pay_for_their_logits(family: str, tmp_path: Path) -> None:
    training = Training(**PLAIN, task="causal-lm", labels=0)
    check(Case(tmp_path, family, training), 2, 6, tolerance=0.001)


def test_table_by_depth_and_rank_holds_between_its_probes(tmp_path: Path) -> None:
    case = Case(tmp_path, "roberta", Training(**PLAIN))
    memory = memory_by_closed_form(case.setting, framework_bytes=0.0)
    for depth, rank in ((0, 4), (1, 12), (2, 64), (3, 7)):
        phases = (memory.forward_bytes, memory.backward_bytes, memory.optimizer_bytes)
        predicted = memory.weights_bytes + max(
            p.by_depth[depth] + rank * sum(p.per_rank[3 - depth :]) for p in phases
        )
        # Position tables are buffers of a few hundred bytes, which weights leave out.
        assert predicted == pytest.approx(case.fake(depth, rank).peak_bytes, rel=0.01)
