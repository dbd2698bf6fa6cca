"""The examples of docs/api.md run and print what the page says."""

import doctest
from pathlib import Path

import pytest

import solver

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def test_every_example_of_the_page_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One of them writes a file.
    monkeypatch.chdir(tmp_path)
    found = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert found.attempted > 30
    assert found.failed == 0


def test_every_public_name_is_there() -> None:
    for name in solver.__all__:
        assert getattr(solver, name) is not None
