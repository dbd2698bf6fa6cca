"""Whoever plans from Python misspells options, and has numbers that come out of pandas."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

import solver
from profiler.schema import Fleet, write
from solver import InputError, Problem, read_plan, solve
from tests.solver.instances import random_fleet


@pytest.fixture
def fleet() -> Fleet:
    return random_fleet(0, layers=3, devices=3, max_rank=4)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("objective", "best", "expected one of utility, time, efficiency, legend"),
        ("structure", "mine", "structure is 'mine'; expected one of shared, capped, own"),
        ("weights", "exampls", "expected one of examples, equal"),
        ("rank_shape", "flat", "rank_shape is 'flat'; expected one of free"),
        ("cache", "on", "expected one of off, round, always, auto"),
        ("upload_codec", "gzip", "upload_codec is 'gzip'; expected one of none"),
        ("download_codec", True, "download_codec is True; expected one of none"),
        ("leave_out", "some", "expected one of nobody, unable"),
        ("min_depth", 1.5, "min_depth is 1.5; expected a whole number"),
        ("min_depth", None, "min_depth is None; expected a whole number"),
        ("max_depth", "2", "max_depth is '2'; expected a whole number"),
        ("rank_budget", 10.5, "budget rank_budget is 10.5; expected a whole number"),
        ("round_time_s", "60", "budget round_time_s is '60'; expected a number"),
        ("energy_j", True, "budget energy_j is True; expected a number"),
        ("fill_wait", "twice", "fill_wait is 'twice'; expected a number"),
        ("ranks", 8, "the ranks are 8; expected whole numbers from 1 to 1024, as in [4, 8"),
        ("ranks", "4,8", "the ranks are '4,8'; expected whole numbers"),
        ("ranks", [4, 8.5], "a rank is 8.5; expected a whole number"),
    ],
)
def test_an_option_that_is_none_is_refused_and_not_taken_for_another(
    fleet: Fleet, option: str, value: Any, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        Problem.of(fleet, **{option: value})
    assert message in str(caught.value)


def test_numbers_of_numpy_are_numbers_of_the_file(fleet: Fleet, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    own = solve(
        Problem.of(fleet, ranks=[1, 2, 3], max_depth=2, round_time_s=1e6, rank_budget=9)
    )
    theirs = Problem.of(
        fleet,
        ranks=np.arange(1, 4),  # type: ignore[arg-type]
        min_depth=np.int64(1),  # type: ignore[arg-type]
        max_depth=np.int64(2),  # type: ignore[arg-type]
        round_time_s=np.float32(1e6),  # type: ignore[arg-type]
    ).under(rank_budget=np.int64(9))  # type: ignore[arg-type]
    write(path, solve(theirs))
    assert read_plan(path) == own


def test_a_changed_budget_is_checked_like_a_first_one(fleet: Fleet) -> None:
    with pytest.raises(InputError, match="budget mean_wait_s is -1"):
        Problem.of(fleet).under(mean_wait_s=-1)


def test_every_name_can_be_completed() -> None:
    assert set(solver.__all__) <= set(dir(solver))


def test_no_budget_on_energy_without_knowing_what_a_device_draws(fleet: Fleet) -> None:
    used = fleet.devices[0].device_class
    dark = replace(
        fleet,
        classes=[
            replace(c, device=replace(c.device, power_w=0.0)) if c.name == used else c
            for c in fleet.classes
        ],
    )
    with pytest.raises(InputError, match=f"class '{used}': its draw under load"):
        Problem.of(dark, energy_j=100.0)
    assert solve(Problem.of(dark)).predicted.energy_j >= 0
