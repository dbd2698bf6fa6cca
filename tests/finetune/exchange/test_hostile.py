"""Answers that are no good: refused, named and counted, and the round goes on."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file

from finetune.exchange.codec import PayloadError, encode_state
from finetune.exchange.messages import Answer, Failure, Task
from finetune.exchange.updates import Update, change_norm, check_norms, check_report, clip
from finetune.local.in_process import InProcessEngine
from finetune.monitor.metrics import read_metrics
from finetune.options import RunOptions
from finetune.run import run
from finetune.session.setup import Federation, Sources, set_up
from solver.plan import InputError, Plan, read_plan
from tests.finetune.aggregate.states import state_of, update
from tests.finetune.conftest import MakeInputs
from tests.finetune.runs import Family, make_plan, write_reviews

ALL = RunOptions(rounds=2, sample=5, learning_rate=1e-2)
VICTIM = "device-1"
Poison = Callable[[Answer], list[Answer]]


def hostile(monkeypatch: pytest.MonkeyPatch, poison: Poison, device: str = VICTIM) -> None:
    """Let a device send what `poison` makes of its answer; "" is every device."""
    train = InProcessEngine.train

    def poisoned(self: InProcessEngine, tasks: Sequence[Task]) -> Iterator[Answer]:
        for answer in train(self, tasks):
            yield from poison(answer) if device in ("", answer.device) else [answer]

    monkeypatch.setattr(InProcessEngine, "train", poisoned)


def tensors(change: Callable[[dict[str, torch.Tensor], str], None]) -> Poison:
    def poison(answer: Answer) -> list[Answer]:
        assert not isinstance(answer.state, bytes)
        state = dict(answer.state)
        change(state, min(state))
        return [answer._replace(state=state)]

    return poison


def fields(**changes: object) -> Poison:
    return lambda answer: [answer._replace(**changes)]  # type: ignore[arg-type]


POISONS: dict[str, tuple[str, Poison]] = {
    "not finite": (
        "holds NaN or infinity",
        tensors(lambda s, n: s.update({n: torch.full_like(s[n], float("nan"))})),
    ),
    "shape": ("has shape", tensors(lambda s, n: s.update({n: s[n][:, :1]}))),
    "missing": ("is missing", tensors(lambda s, n: s.__delitem__(n))),
    "extra": (
        "'base_model.model.bert.pooler.dense.weight' was not asked for",
        tensors(lambda s, n: s.update({"base_model.model.bert.pooler.dense.weight": s[n]})),
    ),
    "dtype": ("is torch.float64", tensors(lambda s, n: s.update({n: s[n].double()}))),
    "norm": (
        "100 times the median",
        tensors(lambda s, n: s.update({n: s[n] + 1e4})),
    ),
    "size": ("expected at most", fields(state=b"x" * 10**6)),
    "unreadable": ("is no safetensors file", fields(state=b"\x80\x04pickle")),
    "stale": ("answers task '0/7/1'; expected '0/", fields(task="0/7/1")),
    "examples": ("expected at most 10 times", fields(examples=10**12)),
    "loss": ("reports a loss of nan", fields(train_loss=float("nan"))),
    "silent": ("no answer", lambda answer: []),
    "duplicate": ("answered twice", lambda answer: [answer, answer]),
    "stranger": ("was not asked", lambda a: [a, a._replace(device="\x1b[31mstranger\n")]),
}


def start(plan: Plan, sources: Sources, options: RunOptions = ALL) -> Federation:
    return set_up(plan, sources, options, lambda: None)


@pytest.fixture(scope="module")
def federation(
    models: Callable[[Family], Path], tmp_path_factory: pytest.TempPathFactory
) -> Federation:
    """Set up once: playing a round changes nothing but what it returns."""
    data = write_reviews(tmp_path_factory.mktemp("data") / "reviews.csv")
    return start(make_plan(), Sources(models("bert"), data))


@pytest.mark.parametrize("kind", list(POISONS))
def test_unusable_answers_are_left_out_and_named(
    federation: Federation, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    reason, poison = POISONS[kind]
    hostile(monkeypatch, poison)
    result = federation.server.play(federation.start, 0)
    (refused,) = result.refused
    assert refused.device == ("?[31mstranger?" if kind == "stranger" else VICTIM)
    assert refused.kind == kind
    assert reason in refused.reason
    assert result.train_loss is not None
    assert all(torch.isfinite(tensor).all() for tensor in result.state.values())


def test_refusals_are_counted_in_metrics_and_summary(
    inputs: MakeInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile(monkeypatch, POISONS["not finite"][1])
    given = inputs()
    summary = run(given.plan, Sources(given.model, given.data), tmp_path / "run", ALL)
    for row in read_metrics(tmp_path / "run")["refused"]:
        assert [(r["device"], r["kind"]) for r in row] == [(VICTIM, "not finite")]
    assert (summary.refused, summary.refused_by_kind) == (2, {"not finite": 2})
    state = load_file(tmp_path / "run/adapter/adapter_model.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


@pytest.mark.parametrize("poison", [POISONS["silent"][1], POISONS["unreadable"][1]])
@pytest.mark.parametrize("aggregation", ["layerwise", "fedex", "flora"])
def test_a_round_of_refused_answers_alone_keeps_the_state(
    inputs: MakeInputs, monkeypatch: pytest.MonkeyPatch, poison: Poison, aggregation: str
) -> None:
    given = inputs()
    options = replace(ALL, aggregation=aggregation)
    federation = start(read_plan(given.plan), Sources(given.model, given.data), options)
    hostile(monkeypatch, poison, device="")
    result = federation.server.play(federation.start, 0)
    assert (result.train_loss, result.aggregation_error) == (None, None)
    assert len(result.refused) == 5
    assert all(torch.equal(result.state[n], t) for n, t in federation.start.items())


def test_what_is_refused_does_not_touch_the_others_mean(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile(monkeypatch, POISONS["silent"][1])
    without = federation.server.play(federation.start, 0)
    monkeypatch.undo()
    for kind in ("not finite", "norm", "stale"):
        hostile(monkeypatch, POISONS[kind][1])
        result = federation.server.play(federation.start, 0)
        assert all(torch.equal(result.state[n], t) for n, t in without.state.items())
        monkeypatch.undo()
    whole = federation.server.play(federation.start, 0)
    for kind in ("duplicate", "stranger"):
        hostile(monkeypatch, POISONS[kind][1])
        result = federation.server.play(federation.start, 0)
        assert all(torch.equal(result.state[n], t) for n, t in whole.state.items())
        monkeypatch.undo()


def test_an_engine_may_say_why_a_device_failed(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = InProcessEngine.train

    def failing(self: InProcessEngine, tasks: Sequence[Task]) -> Iterator[Answer | Failure]:
        yield Failure(VICTIM, "went offline", "offline")
        yield from train(self, [task for task in tasks if task.device.name != VICTIM])

    monkeypatch.setattr(InProcessEngine, "train", failing)
    result = federation.server.play(federation.start, 0)
    assert [(r.device, r.reason, r.kind) for r in result.refused] == [
        (VICTIM, "went offline", "offline")
    ]


def test_a_right_answer_after_a_stale_one_still_counts(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = federation.server.play(federation.start, 0)
    hostile(monkeypatch, lambda answer: [answer._replace(task="0/9/1"), answer])
    result = federation.server.play(federation.start, 0)
    assert [r.kind for r in result.refused] == ["stale"]
    assert all(torch.equal(result.state[n], t) for n, t in plain.state.items())


@pytest.mark.parametrize("examples", [0, -3, 1.5, True, None, "9", float("nan")])
def test_examples_are_a_whole_number(examples: object) -> None:
    with pytest.raises(PayloadError, match="expected a whole number above 0"):
        check_report(examples, 0.5, None)


@pytest.mark.parametrize("loss", [float("inf"), -0.1, 1e9, None, "0"])
def test_a_loss_is_a_sensible_figure(loss: object) -> None:
    with pytest.raises(PayloadError, match="reports a loss"):
        check_report(3, loss, None)


def test_norms_are_absurd_by_themselves_or_beside_the_others() -> None:
    usual = [update(str(i), 1, state_of({"l0": 2}, seed=i)) for i in range(4)]
    large = state_of({"l0": 2}, seed=9)
    huge = {name: 1e9 * tensor for name, tensor in large.items()}
    loud = {name: 200 * tensor for name, tensor in large.items()}
    assert check_norms(usual) == {}
    assert list(check_norms([*usual, update("loud", 1, loud)])) == ["loud"]
    assert list(check_norms([update("huge", 1, huge)])) == ["huge"]
    assert check_norms([usual[0], update("loud", 1, loud)]) == {}


def test_clipping_shrinks_the_change_to_the_norm_and_keeps_smaller_ones() -> None:
    received, state = state_of({"l0": 2}, seed=0), state_of({"l0": 2}, seed=1)
    whole = Update("a", 1, received, state, 0.5)
    norm = change_norm(whole)
    assert clip(whole, norm + 1) is whole
    small = clip(whole, norm / 4)
    assert change_norm(small) == pytest.approx(norm / 4, rel=1e-5)
    for name, tensor in state.items():
        expected = received[name] + 0.25 * (tensor - received[name])
        torch.testing.assert_close(small.state[name], expected)


def test_clipping_and_trimming_hold_an_attacker_off(
    inputs: MakeInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change just below what is refused moves the adapter far, unless clipped or trimmed."""
    given = inputs(make_plan(shapes=((2, 3, 4),)))
    plan = read_plan(given.plan)
    moved = {}
    for name, defence in {
        "none": {},
        "clipped": {"clip_update_norm": 0.5},
        "trimmed": {"aggregation_trim": 0.2},
    }.items():
        options = replace(ALL, **defence)
        federation = start(plan, Sources(given.model, given.data), options)
        hostile(monkeypatch, tensors(lambda s, n: s.update({n: s[n] + 2.0})))
        attacked = federation.server.play(federation.start, 0)
        monkeypatch.undo()
        assert not attacked.refused
        honest = federation.server.play(federation.start, 0)
        moved[name] = max(
            float((attacked.state[n] - honest.state[n]).abs().max()) for n in federation.start
        )
    assert moved["clipped"] < 0.3 * moved["none"]
    assert moved["trimmed"] < 0.3 * moved["none"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"aggregation_trim": 0.5}, "expected below 0.5"),
        ({"aggregation_trim": -0.1}, "--aggregation-trim is -0.1; expected 0 or more"),
        ({"clip_update_norm": -1.0}, "--clip-update-norm is -1.0; expected 0 or more"),
        ({"clip_update_norm": float("nan")}, "--clip-update-norm is nan"),
    ],
)
def test_defences_out_of_range_are_refused(option: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RunOptions(**option)  # type: ignore[arg-type]


def test_bytes_of_a_real_client_are_taken_as_tensors_are(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = federation.server.play(federation.start, 0)

    def as_bytes(answer: Answer) -> list[Answer]:
        assert not isinstance(answer.state, bytes)
        return [answer._replace(state=encode_state(answer.state, "none"))]

    hostile(monkeypatch, as_bytes, device="")
    result = federation.server.play(federation.start, 0)
    assert not result.refused
    assert all(torch.equal(result.state[n], t) for n, t in plain.state.items())
