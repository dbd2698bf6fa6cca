"""Runs read back: smoothing, what it took to reach an accuracy, and broken files."""

from pathlib import Path

import pytest

from finetune.report.run_tables import points_table, runs_table, targets_table
from finetune.report.runs import Run, reached, read_runs, targets
from solver.plan import InputError
from tests.finetune.report.pages import run_folder

RISING = [0.50, 0.60, 0.70, 0.80, 0.80, 0.80]


def one(folder: Path, accuracies: list[float | None], round_s: float = 10.0) -> Run:
    (run,) = read_runs([run_folder(folder, accuracies, round_s)], [])
    return run


def test_points_are_evaluations_and_their_trailing_mean(tmp_path: Path) -> None:
    run = one(tmp_path / "a", [0.5, None, 0.6, 0.7, 0.8])
    assert [p.accuracy for p in run.points] == [0.5, 0.6, 0.7, 0.8]
    assert [p.smooth for p in run.points] == pytest.approx([0.5, 0.55, 0.6, 0.7])
    assert [p.time_s for p in run.points] == [10.0, 30.0, 40.0, 50.0]
    assert run.label == "a"


def test_an_accuracy_counts_when_the_mean_of_three_holds_it(tmp_path: Path) -> None:
    lucky = one(tmp_path / "a", [0.9, 0.5, 0.5, 0.7, 0.7, 0.7])
    hit = reached(lucky, 0.7)
    assert hit is not None
    assert (hit.time_s, hit.upload_bytes) == (60.0, 6e6)
    assert reached(lucky, 0.8) is None


def test_targets_are_whole_per_cents_that_some_run_holds(tmp_path: Path) -> None:
    runs = [one(tmp_path / "a", list(RISING)), one(tmp_path / "b", [0.5, 0.6, 0.7, 0.7, 0.7])]
    found = targets(runs)
    assert found == [0.8, 0.7, 0.69, 0.68, 0.65]
    assert all(any(reached(run, t) for run in runs) for t in found)


def test_the_table_compares_with_the_least(tmp_path: Path) -> None:
    runs = [one(tmp_path / "a", list(RISING)), one(tmp_path / "b", list(RISING), 25.0)]
    table = targets_table(runs)
    assert table.columns[1:] == ["a: time", "a: uploaded", "b: time", "b: uploaded"]
    assert table.lines[0] == [
        "80 %",
        "60.0 s (1.00×)",
        "6.00 MB (1.00×)",
        "150 s (2.50×)",
        "6.00 MB (1.00×)",
    ]


def test_a_run_without_evaluations_is_still_listed(tmp_path: Path) -> None:
    runs = [one(tmp_path / "a", [None, None])]
    assert targets(runs) == []
    assert runs_table(runs).lines[0][:4] == ["a", "2", "–", "–"]
    assert points_table(runs).lines == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no round"),
        ("not json\n", "no metrics file"),
        ('{"round": 1}\n', "no metrics file"),
    ],
)
def test_a_broken_metrics_file_is_bad_input(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        read_runs([tmp_path], [])


@pytest.mark.parametrize("accuracy", [-0.1, 1.5])
def test_impossible_accuracies_are_bad_input(tmp_path: Path, accuracy: float) -> None:
    with pytest.raises(InputError, match="expected 0 to 1"):
        read_runs([run_folder(tmp_path / "a", [0.5, accuracy])], [])
