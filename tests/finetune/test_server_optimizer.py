"""Server optimizers: each against its formula by hand, and in runs that stop and go on."""

import math
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace

from finetune.model.carry import carry
from finetune.model.state import MOMENTUM, VARIANCE, A, adapter_of
from finetune.monitor.metrics import read_metrics
from finetune.options import RunOptions
from finetune.server.optimizer import ServerOptimizer
from finetune.session.setup import Sources, set_up
from solver.plan import InputError, read_plan
from tests.finetune.conftest import MakeInputs
from tests.finetune.playing import ADAPTER, OPTIONS, execute, last_state, resumed_equals_whole
from tests.finetune.runs import make_plan

TAU = 1e-3


def by_hand(name: str, changes: list[float], rate: float, beta: float) -> float:
    """Where the coordinate 1.0 goes under changes, in plain numbers."""
    x, m, v = 1.0, 0.0, TAU**2
    for change in changes:
        if name == "fedavg":
            x += rate * change
            continue
        if name == "fedavgm":
            m = beta * m + change
            x += rate * m
            continue
        m = beta * m + (1 - beta) * change
        if name == "fedadam":
            v = 0.99 * v + 0.01 * change**2
        else:
            v -= 0.01 * change**2 * math.copysign(1, v - change**2)
        x += rate * m / (math.sqrt(v) + TAU)
    return x


@pytest.mark.parametrize("name", ["fedavg", "fedavgm", "fedadam", "fedyogi"])
def test_steps_are_those_of_the_formula(name: str) -> None:
    optimizer = ServerOptimizer(name, 0.3, 0.8)  # type: ignore[arg-type]
    state = {"x": torch.tensor([1.0, 1.0], dtype=torch.float64)}
    changes = [[0.5, -0.2], [0.01, 0.4], [-0.3, 0.0001]]
    for change in changes:
        joined = {"x": state["x"] + torch.tensor(change, dtype=torch.float64)}
        state |= optimizer.step({"x": state["x"]}, joined, state, {"x"})
    expected = [by_hand(name, [c[i] for c in changes], 0.3, 0.8) for i in (0, 1)]
    torch.testing.assert_close(state["x"].tolist(), expected)


def test_what_nobody_holds_stays_as_it_is() -> None:
    optimizer = ServerOptimizer("fedavgm")
    before = {"x": torch.ones(2), "y": torch.ones(2)}
    memory = {"y" + MOMENTUM: torch.full((2,), 5.0)}
    after = optimizer.step(before, {**before, "x": torch.zeros(2)}, memory, {"x"})
    assert torch.equal(after["y"], before["y"])
    assert "y" + MOMENTUM not in after  # so what is remembered stays too
    assert torch.equal(after["x" + MOMENTUM], torch.full((2,), -1.0))


@pytest.mark.parametrize("name", ["fedavgm", "fedadam"])
def test_a_resumed_run_remembers(inputs: MakeInputs, tmp_path: Path, name: str) -> None:
    given = inputs(make_plan(codec="int8", download_codec="int8"))
    plain, options = execute(given, tmp_path / "plain"), replace(OPTIONS, server_optimizer=name)
    moved = execute(given, tmp_path / "whole", options)
    assert moved.final_loss != plain.final_loss
    # What the aggregation is off by is told without the optimizer's step.
    errors = [
        read_metrics(tmp_path / run)["aggregation_error"][0] for run in ("plain", "whole")
    ]
    assert errors[0] == errors[1] > 0
    resumed_equals_whole(given, tmp_path, options)
    remembered = {n for n in last_state(tmp_path / "whole") if n.endswith(VARIANCE)}
    assert bool(remembered) == (name == "fedadam")
    saved = (tmp_path / "whole" / ADAPTER).read_bytes()
    assert MOMENTUM.encode() not in saved


def test_the_rate_of_fedavg_scales_a_round(inputs: MakeInputs) -> None:
    given = inputs()
    plan, sources = read_plan(given.plan), Sources(*given[:2])
    ends = []
    for rate in (1.0, 0.5):
        options = replace(OPTIONS, server_learning_rate=rate)
        federation = set_up(plan, sources, options, lambda: None)
        result = federation.server.play(federation.start, 0)
        ends.append({n: t - federation.start[n] for n, t in result.state.items()})
    assert any(change.any() for change in ends[0].values())
    for name, change in ends[0].items():
        torch.testing.assert_close(0.5 * change, ends[1][name], atol=1e-6, rtol=1e-4)


def test_memory_begins_anew_where_ranks_change(inputs: MakeInputs) -> None:
    def start(ranks: tuple[int, int, int]) -> dict[str, torch.Tensor]:
        plan = make_plan(shapes=(ranks,), ranks=ranks)
        return set_up(plan, Sources(*inputs(plan)[:2]), OPTIONS, lambda: None).start

    state = start((2, 3, 4))
    state |= {f"{name}{MOMENTUM}": torch.ones_like(t) for name, t in state.items()}
    carried = carry(state, start((2, 4, 2)))
    left = {n.split("layer.")[1][0] for n in carried if n.endswith(A + MOMENTUM)}
    assert left == {"0"}
    assert not any(MOMENTUM in name for name in adapter_of(carried))


@pytest.mark.parametrize(
    ("changes", "aggregation", "words"),
    [
        ({"server_optimizer": "fedavgm"}, "hlora", "leaves every rank in its place; 'hlora'"),
        ({"server_optimizer": "fedadam"}, "fedex", "leaves every rank in its place; 'fedex'"),
        ({"server_learning_rate": 0.5}, "flexlora", "fedavg at rate 0.5 needs"),
    ],
)
def test_aggregations_that_move_ranks_have_no_server_optimizer(
    inputs: MakeInputs, changes: dict[str, object], aggregation: str, words: str
) -> None:
    given = inputs()
    options = replace(OPTIONS, aggregation=aggregation, **changes)
    with pytest.raises(InputError, match=words):
        set_up(read_plan(given.plan), Sources(*given[:2]), options, lambda: None)


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"server_momentum": 1.0}, "--server-momentum is 1.0; expected below 1"),
        ({"server_momentum": -0.1}, "--server-momentum is -0.1; expected 0 or more"),
        ({"server_learning_rate": 0.0}, "--server-learning-rate is 0.0; expected above 0"),
    ],
)
def test_choices_out_of_range_are_named(choices: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        RunOptions(**choices)  # type: ignore[arg-type]
