"""How learning runs are laid out: rates by what was measured, evaluations by virtual time."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.cases import learning_rates
from benchmarks.learning.runs import Length
from benchmarks.result import figure
from solver import read_plan

PLAN = Path(__file__).parents[2] / "docs/examples/plan.json"


def test_the_rate_is_the_one_of_most_accuracy_at_that_spread_of_labels(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scores = {("a, alpha 10", 0.002): 70.0, ("a, alpha 10", 0.004): 71.0,
              ("a, alpha 1", 0.001): 66.0, ("a, alpha 1", 0.002): 65.0}  # fmt: skip
    figures = [
        figure(f"mean validation accuracy, rate {rate:g}", [score], "%", setting=setting)
        for (setting, rate), score in scores.items()
    ]
    monkeypatch.setattr(learning_rates, "result_path", lambda name, quick: tmp_path)
    monkeypatch.setattr(
        learning_rates, "read_result", lambda _: SimpleNamespace(figures=figures)
    )
    assert learning_rates.chosen_rates(10.0) == {"a": 0.004}
    assert learning_rates.chosen_rates(1.0) == {"a": 0.001}
    assert learning_rates.chosen_rates(3.0) == {}


def test_evaluations_are_as_far_apart_in_time_for_short_rounds_as_for_long_ones() -> None:
    plan = read_plan(PLAN)
    by_rounds = Length(rounds=9, sample=2, max_test=10, eval_every=3)
    assert by_rounds.rounds_between(plan) == 3
    for rounds in (1, 4):
        between_s = rounds * plan.predicted.round_time_s
        by_time = Length(rounds=9, sample=2, max_test=10, eval_every_s=between_s)
        assert by_time.rounds_between(plan) == rounds
    often = Length(rounds=9, sample=2, max_test=10, eval_every_s=1e-6)
    assert often.rounds_between(plan) == 1
