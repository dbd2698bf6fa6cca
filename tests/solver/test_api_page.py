"""The examples of docs/api.md run and print what the page says."""

import doctest
import inspect
import re
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


def test_every_argument_of_a_question_is_in_a_group() -> None:
    groups = PAGE.read_text(encoding="utf-8").partition("Its arguments in groups")[2]
    named = re.findall(r"`(\w+)`", groups.partition("\n\nPlans are frames")[0])
    asked = list(inspect.signature(solver.Problem.of).parameters)
    assert sorted(named) == sorted(asked[1:])


def test_every_public_name_is_there() -> None:
    for name in solver.__all__:
        assert getattr(solver, name) is not None
