"""Errors name arguments to who calls functions, and flags to who types commands."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from profiler.schema import read_fleet
from solver import Infeasible, InputError, Problem, solve
from solver.whatif import changed


@pytest.mark.parametrize(
    ("asked", "typed", "argument", "flag"),
    [
        ({"min_depth": 9}, ("--min-depth", 9), "min_depth is 9", "--min-depth is 9"),
        (
            {"objective": "time"},
            ("--objective", "time"),
            "give min_utility",
            "give --min-utility",
        ),
        (
            {"round_time_s": -1},
            ("--round-time", -1),
            "round_time_s is -1",
            "--round-time is -1",
        ),
        (
            {"round_time_s": 3.5},
            ("--round-time", 3.5),
            "(leave_out unable)",
            "(--leave-out unable)",
        ),
    ],
)
def test_the_same_error_in_both_words(
    run: Any,
    fleet_path: Path,
    asked: dict[str, Any],
    typed: tuple[str, object],
    argument: str,
    flag: str,
) -> None:
    fleet = read_fleet(fleet_path)
    said = message(lambda: solve(Problem.of(fleet, ranks=[1, 2, 3, 4], **asked)))
    assert argument in said
    assert "--" not in said
    _, _, err = run("solve", fleet_path, "--ranks", "1-4", *typed)
    assert flag in err


def test_changes_and_commands_that_are_quoted(fleet_path: Path) -> None:
    fleet = read_fleet(fleet_path)
    assert message(lambda: changed(fleet, ["all,up=1"])).startswith("change 'all,up=1': no")


def message(call: Callable[[], object]) -> str:
    with pytest.raises((InputError, Infeasible)) as caught:
        call()
    return str(caught.value)
