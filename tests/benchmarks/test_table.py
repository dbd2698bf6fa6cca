"""Results as a page for people."""

import re
from pathlib import Path

import pytest

from benchmarks.machine import ROOT
from benchmarks.registry import find, run, save
from benchmarks.result import figure
from benchmarks.table import TABLES, VERDICTS, cells, latest, update_readme
from benchmarks.words import number
from profiler.schema import InputError

PAGE = f"# Head\n{VERDICTS[0]}\n{VERDICTS[1]}\nmiddle\n{TABLES[0]}\nold\n{TABLES[1]}\ntail\n"


def real_result(folder: Path, *, quick: bool) -> Path:
    return save(run(find("frontier"), quick=quick, seeds=1), folder)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.01234, "0.0123"),
        (1234.5, "1234"),
        (99999, "99999"),
        (3.2e7, "3.20e+07"),
        (4e-16, "4.00e-16"),
        (25.04, "25"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


def test_cells_say_target_and_verdict() -> None:
    missed = figure("wall", [1.0, 2.0, 4.0], "s", setting="here", target=1.5)
    assert cells(missed) == ["wall", "here", "2 s", "1", "4", "≤ 1.5", "**no**"]
    kept = figure("ratio", [2000.0], "1", target=1e3, better="high", judged="worst")
    assert cells(kept) == ["ratio", "", "2000", "", "", "≥ 1000 at worst", "yes"]
    assert cells(figure("plain", [1.0], "1"))[-2:] == ["", ""]


def test_the_page_shows_the_full_form_where_there_is_one(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(PAGE, encoding="utf-8")
    real_result(tmp_path, quick=True)
    assert "### frontier (quick)" in update_readme(page, tmp_path).read_text(encoding="utf-8")
    real_result(tmp_path, quick=False)
    text = update_readme(page, tmp_path).read_text(encoding="utf-8")
    assert "### frontier\n" in text
    assert "(quick)" not in text
    assert "old" not in text
    assert text.startswith("# Head\n")
    assert "targets are met" in text.partition("middle")[0]
    assert "Without a result on file: dp-vs-milp," in text
    assert text.endswith("\ntail\n")
    again = update_readme(page, tmp_path).read_text(encoding="utf-8")
    assert again == text


def test_a_page_without_marks_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(PAGE.replace(TABLES[1], ""), encoding="utf-8")
    with pytest.raises(InputError, match="expected the marks"):
        update_readme(page, tmp_path)


def test_the_page_in_the_repository_shows_the_results_on_file() -> None:
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 900, "a page that nobody reads to its end"
    assert all(mark in text for mark in (*VERDICTS, *TABLES))
    for result in latest():
        assert f"<code>{result.command}</code>" in text
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert shown
    for path in shown:
        assert (ROOT / "benchmarks" / path).is_file(), path


def test_the_page_in_the_repository_is_what_the_results_make(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    page.write_text(text, encoding="utf-8")
    assert update_readme(page).read_text(encoding="utf-8") == text, "python -m benchmarks table"
