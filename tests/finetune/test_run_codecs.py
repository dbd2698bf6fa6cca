"""Whole runs with codecs: bytes, resuming, what is learnt, and what never gets lost."""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace

from finetune.exchange.messages import Answer, Task
from finetune.local.in_process import InProcessEngine
from finetune.model.state import KEPT_BY, A, B, State, lora_modules
from finetune.monitor.metrics import METRICS_FILE, decode_metrics
from finetune.options import RunOptions
from finetune.session.setup import Sources, set_up
from solver.plan import Codec, InputError, read_plan
from tests.finetune.conftest import MakeInputs
from tests.finetune.playing import (
    OPTIONS,
    execute,
    last_state,
    plan_joined_by,
    resumed_equals_whole,
)
from tests.finetune.runs import make_plan


@pytest.mark.parametrize("codec", ["float16", "int8"])
def test_codecs_send_and_charge_what_the_plan_predicts(
    inputs: MakeInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: Codec
) -> None:
    given = inputs(make_plan(codec=codec, download_codec=codec))
    sent, received, train = [0], [0], InProcessEngine.train

    def without_header(data: bytes) -> int:
        return len(data) - 8 - int.from_bytes(data[:8], "little")

    def watching(self: InProcessEngine, tasks: Sequence[Task]) -> Iterator[Answer]:
        received[0] += sum(without_header(task.data) for task in tasks)
        for answer in train(self, tasks):
            assert isinstance(answer.state, bytes)
            sent[0] += without_header(answer.state)
            yield answer

    monkeypatch.setattr(InProcessEngine, "train", watching)
    execute(given, tmp_path / "whole")
    monkeypatch.undo()
    rows = decode_metrics((tmp_path / "whole" / METRICS_FILE).read_bytes(), "metrics")
    planned = {d.name: d.predicted for d in read_plan(given.plan).devices if d.predicted}
    assert rows[-1].upload_bytes == sent[0]
    assert sent[0] == sum(planned[name].upload_bytes for row in rows for name in row.devices)
    assert rows[-1].download_bytes == received[0]
    told = sum(planned[name].download_bytes for row in rows for name in row.devices)
    assert received[0] == told
    for row in rows:
        assert row.round_time_s == max(planned[name].time_s for name in row.devices)
        assert not row.refused
    resumed_equals_whole(given, tmp_path, OPTIONS)
    kept = {n.split(KEPT_BY)[1] for n in last_state(tmp_path / "whole") if KEPT_BY in n}
    asked = {name.removeprefix("device-") for row in rows for name in row.devices}
    assert kept == (asked if codec == "int8" else set())


def test_codecs_hardly_change_what_is_learnt(inputs: MakeInputs) -> None:
    states, options = {}, replace(OPTIONS, sample=5)
    codecs: tuple[Codec, ...] = ("none", "float16", "int8")
    for codec, back in product(codecs, repeat=2):
        given = inputs(make_plan(codec=codec, download_codec=back))
        plan, sources = read_plan(given.plan), Sources(given.model, given.data)
        federation = set_up(plan, sources, options, lambda: None)
        state = federation.start
        for index in range(3):
            state = federation.server.play(state, index).state
        states[codec, back] = {name: state[name] for name in federation.start}
    exact = states["none", "none"]
    moved = distance(exact, federation.start)
    for pair, state in states.items():
        allowed = 0.2 if "int8" in pair else 0.02
        assert distance(state, exact) <= allowed * moved, pair


@pytest.mark.parametrize(
    ("name", "codec", "width"),
    [
        ("layerwise", "none", 4.0),
        ("layerwise", "none", 2.0),
        *((name, "int8", 4.0) for name in ("layerwise", "hetlora", "hlora", "rbla", "ffa")),
    ],
)
def test_what_downloads_lose_never_gets_into_the_servers_adapter(
    inputs: MakeInputs, name: str, codec: Codec, width: float
) -> None:
    # Equal ranks: joining different ones changes the adapter by itself.
    plan = make_plan(codec=codec, download_codec="int8", bytes_per_parameter=width)
    options = RunOptions(rounds=4, sample=5, learning_rate=1e-12, aggregation=name)
    given = inputs(plan)
    federation = set_up(plan, Sources(given.model, given.data), options, lambda: None)
    noise = torch.Generator().manual_seed(0)
    start = {
        n: t + 0.1 * torch.randn(t.shape, generator=noise) for n, t in federation.start.items()
    }
    products = {m: start[m + B] @ start[m + A] for m in lora_modules(start)}
    state = start
    for index in range(4):
        result = federation.server.play(state, index)
        assert not result.refused
        state = result.state
    for module, before in products.items():
        after = state[module + B] @ state[module + A]
        assert float((after - before).norm() / before.norm()) < 1e-5, module


def distance(a: State, b: State) -> float:
    return float(sum((a[n] - b[n]).square().sum() for n in b).sqrt())  # type: ignore[union-attr]


@pytest.mark.parametrize("codec", ["float16", "int8"])
@pytest.mark.parametrize("way", ["upload", "download"])
def test_a_plan_that_predicts_other_bytes_than_its_codec_takes_is_refused(
    inputs: MakeInputs, tmp_path: Path, codec: Codec, way: str
) -> None:
    plain = make_plan()
    asked = replace(plain.question, **{f"{way}_codec": codec})
    given = inputs(replace(plain, question=asked))
    with pytest.raises(InputError, match=rf"'device-0': the plan predicts .* bytes to {way}"):
        execute(given, tmp_path / "run")


@pytest.mark.parametrize("name", ["flora", "fedex"])
def test_changes_of_the_base_have_no_codec(
    inputs: MakeInputs, tmp_path: Path, name: str
) -> None:
    given = inputs(plan_joined_by(name, download_codec="int8"))
    with pytest.raises(InputError, match=f"'{name}' changes the base's .* no codec"):
        execute(given, tmp_path / "run", replace(OPTIONS, aggregation=name))
