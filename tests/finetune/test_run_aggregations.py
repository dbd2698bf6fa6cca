"""Whole runs of every aggregation: bytes, clock, resuming, and the adapter saved."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

import finetune.monitor.tensorboard
from finetune.aggregate import AGGREGATIONS
from finetune.exchange.messages import Answer, Task
from finetune.local.in_process import InProcessEngine
from finetune.model.state import DELTA, A
from finetune.monitor.metrics import METRICS_FILE, decode_metrics, read_metrics
from finetune.options import RunOptions
from finetune.session.setup import Sources, set_up
from solver.plan import InputError, read_plan
from tests.finetune.conftest import MakeInputs
from tests.finetune.playing import (
    OPTIONS,
    execute,
    last_state,
    plan_joined_by,
    resumed_equals_whole,
)
from tests.finetune.runs import HIDDEN, Family, Inputs, make_plan

BATCH = {
    "input_ids": torch.tensor([[2, 5, 7, 9], [2, 8, 4, 4]]),
    "attention_mask": torch.ones(2, 4),
}


def logits(given: Inputs, folder: Path, *, merged: bool = False) -> torch.Tensor:
    torch.manual_seed(123)
    plain = AutoModelForSequenceClassification.from_pretrained(given.model, pad_token_id=0)
    loaded = PeftModel.from_pretrained(plain.eval(), folder).eval()
    model = loaded.merge_and_unload() if merged else loaded
    with torch.no_grad():
        found: torch.Tensor = model(**BATCH).logits
    return found


# GPT-2 holds its weights transposed, which matters where the base is changed.
RUNS: list[tuple[str, Family]] = [*((name, "bert") for name in AGGREGATIONS), ("flora", "gpt2")]


@pytest.mark.parametrize(("name", "family"), RUNS)
def test_every_aggregation_runs_and_saves_the_servers_model(
    inputs: MakeInputs,
    tmp_path: Path,
    name: str,
    family: Family,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = inputs(plan_joined_by(name, family=family), family)
    options = replace(OPTIONS, aggregation=name)
    execute(given, tmp_path / "whole", options)
    plan = read_plan(given.plan)
    federation = set_up(plan, Sources(given.model, given.data), options, lambda: None)
    seen = {}

    def scored(replica: object) -> object:
        replica.model.eval()  # type: ignore[attr-defined]
        with torch.no_grad():
            seen["logits"] = replica.forward(BATCH)[1]  # type: ignore[attr-defined]
        return None

    state = last_state(tmp_path / "whole")
    assert any(key.endswith(DELTA) for key in state) == (name in ("flora", "fedex"))
    monkeypatch.setattr("finetune.model.evaluate.Evaluator.__call__", lambda self, r: scored(r))
    federation.evaluate(state)
    loaded = logits(given, tmp_path / "whole/adapter")
    torch.testing.assert_close(loaded, seen["logits"], rtol=1e-4, atol=1e-5)
    merged = logits(given, tmp_path / "whole/adapter", merged=True)
    torch.testing.assert_close(merged, seen["logits"], rtol=1e-4, atol=1e-5)
    federation.evaluate(federation.start)
    assert not torch.allclose(loaded, seen["logits"], atol=1e-3)

    errors = read_metrics(tmp_path / "whole")["aggregation_error"]
    exact = name in ("flora", "fedex", "ffa")
    assert (errors < 1e-5).all() if exact else (errors > 1e-5).any()


@pytest.mark.parametrize("name", ["hlora", "flora", "fedex"])
def test_a_changed_base_resumes_to_the_same_bytes(
    inputs: MakeInputs, tmp_path: Path, name: str
) -> None:
    given, options = inputs(plan_joined_by(name)), replace(OPTIONS, aggregation=name)
    execute(given, tmp_path / "whole", options)
    resumed_equals_whole(given, tmp_path, options)


def test_flora_downloads_the_stacks_a_device_has_missed(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    given = inputs(plan_joined_by("flora", download="stacked"))
    plan = read_plan(given.plan)
    planned = {d.name: d.predicted for d in plan.devices if d.predicted}
    everybody = RunOptions(rounds=2, sample=5, learning_rate=1e-2)
    summary = execute(given, tmp_path / "all", everybody)
    assert summary.aggregation == "flora"
    first, second = decode_metrics((tmp_path / "all" / METRICS_FILE).read_bytes(), "metrics")
    head = 4 * plan.model.head_parameters
    assert first.download_bytes == 5 * head
    # Layers of a device only, and never more than the matrix itself: less than the plan's
    # stack of everything here, where ranks of all are as large as the tiny model's width.
    stacked = {
        layer: sum(
            plan.configurations[d.configuration].ranks[layer]
            for d in plan.devices
            if d.configuration is not None
        )
        for layer in range(plan.model.layers)
    }
    wanted = 0
    for device in plan.devices:
        if device.configuration is None:
            continue
        for layer, rank in enumerate(plan.configurations[device.configuration].ranks):
            if rank:
                wanted += 2 * 4 * min(stacked[layer] * 2 * HIDDEN, HIDDEN * HIDDEN)
    assert second.download_bytes - first.download_bytes == wanted + 5 * head
    longest = max(planned.values(), key=lambda p: p.time_s)
    saved_s = longest.download_s * (1 - head / longest.download_bytes)
    assert first.round_time_s == pytest.approx(longest.time_s - saved_s)


def test_flora_asked_rarely_downloads_several_stacks(inputs: MakeInputs) -> None:
    plan = make_plan(shapes=((0, 0, 1),), ranks=(0, 0, 1), devices=4, download="stacked")
    given = inputs(plan)
    options = RunOptions(rounds=4, sample=1, learning_rate=1e-2, aggregation="flora")
    federation = set_up(plan, Sources(given.model, given.data), options, lambda: None)
    state, seen = federation.start, dict.fromkeys(("device-0", "device-1", "device-2"), 0)
    head = 4 * plan.model.head_parameters
    for index in range(6):
        result = federation.server.play(state, index)
        (device,) = result.devices
        missed = index - seen[device]
        assert result.cost.download_bytes == head + missed * 4 * 2 * 2 * HIDDEN
        seen[device], state = index, result.state


def test_fedex_downloads_adapters_and_residuals(inputs: MakeInputs) -> None:
    plan = make_plan(shapes=((0, 0, 2),), ranks=(0, 0, 2), devices=4)
    given = inputs(plan)
    options = RunOptions(rounds=4, sample=3, learning_rate=1e-2, aggregation="fedex")
    federation = set_up(plan, Sources(given.model, given.data), options, lambda: None)
    own = 3 * 4 * (2 * 2 * 2 * HIDDEN + plan.model.head_parameters)
    first = federation.server.play(federation.start, 0)
    second = federation.server.play(first.state, 1)
    assert first.cost.download_bytes == own
    assert second.cost.download_bytes == own + 3 * 4 * 2 * (3 - 1) * 2 * 2 * HIDDEN


def test_ffa_neither_trains_nor_sends_a(
    inputs: MakeInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = inputs()
    plan, options = read_plan(given.plan), replace(OPTIONS, aggregation="ffa", sample=5)
    federation = set_up(plan, Sources(given.model, given.data), options, lambda: None)
    sent, train = [], InProcessEngine.train

    def watching(self: InProcessEngine, tasks: Sequence[Task]) -> Iterator[Answer]:
        for answer in train(self, tasks):
            assert not isinstance(answer.state, bytes)
            sent.append(sum(t.nbytes for t in answer.state.values()))
            yield answer

    monkeypatch.setattr(InProcessEngine, "train", watching)
    result = federation.server.play(federation.start, 0)
    planned = sum(d.predicted.upload_bytes for d in plan.devices if d.predicted)
    assert result.cost.upload_bytes == sum(sent) < 0.7 * planned
    changed = {n for n, t in federation.start.items() if not torch.equal(t, result.state[n])}
    assert changed == {name for name in federation.start if not name.endswith(A)}
    longest = max(d.predicted.time_s for d in plan.devices if d.predicted)
    assert result.cost.time_s < longest


def test_tensorboard_is_optional(
    inputs: MakeInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, options = inputs(), RunOptions(rounds=2, sample=2, tensorboard=True)
    steps: list[tuple[str, int]] = []

    class Writer:
        """Stands for TensorBoard's, which the tests do not need."""

        def __init__(self, folder: str, purge_step: int) -> None:
            assert folder == str(tmp_path / "run/tensorboard")
            steps.append(("purge", purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            assert isinstance(value, float | int)
            steps.append((name, step))

        def flush(self) -> None: ...

        def close(self) -> None: ...

    with monkeypatch.context() as patched:
        patched.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
        with pytest.raises(InputError, match=r"pip install 'legend-planner\[tensorboard\]'"):
            execute(given, tmp_path / "run", options)
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(finetune.monitor.tensorboard, "_writer", lambda: Writer)
    execute(given, tmp_path / "run", options)
    assert ("purge", 1) in steps
    assert {("test_accuracy", 1), ("test_accuracy", 2), ("aggregation_error", 2)} <= set(steps)
