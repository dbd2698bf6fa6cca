"""How learning runs are laid out: rates by what was measured, evaluations by virtual time."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.cases import learning_rates
from benchmarks.instances import paper_80_fleet
from benchmarks.learning.arms import ARMS, write_plan
from benchmarks.learning.runs import Length
from benchmarks.result import figure
from profiler.schema import write
from solver import read_plan

PLAN = Path(__file__).parents[2] / "docs/examples/plan.json"


def test_the_rate_is_the_one_of_most_accuracy_at_that_spread_of_labels(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scores = {"learning-rates": {0.002: 70.0, 0.004: 71.0},
              "learning-rates-skewed": {0.001: 66.0, 0.002: 65.0}}  # fmt: skip
    for case in scores:
        (tmp_path / case).touch()

    def read_result(path: Path) -> SimpleNamespace:
        return SimpleNamespace(
            figures=[
                figure(f"mean accuracy, rate {rate:g}", [score], "%", setting="a, alpha 1")
                for rate, score in scores[path.name].items()
            ]
        )

    monkeypatch.setattr(learning_rates, "result_path", lambda name, quick: tmp_path / name)
    monkeypatch.setattr(learning_rates, "read_result", read_result)
    assert learning_rates.chosen_rates(10.0) == {"a": 0.004}
    assert learning_rates.chosen_rates(1.0) == {"a": 0.001}
    (tmp_path / "learning-rates").unlink()
    assert learning_rates.chosen_rates(10.0) == {}


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


def test_a_plan_is_the_same_bytes_on_another_day(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fleet, arm = tmp_path / "fleet.json", ARMS[0]
    write(fleet, paper_80_fleet(0, devices=3))
    made = []
    for day in ("0", "86400"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", day)
        write_plan(arm, fleet, tmp_path / "plan.json")
        made.append((tmp_path / "plan.json").read_bytes())
    assert made[0] == made[1]
