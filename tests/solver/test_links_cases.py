"""Small problems with shared links that a search once got wrong, and tight ones."""

from typing import Any

import pytest

from profiler.schema import Fleet
from solver.check import check
from solver.explain import least_round_time_s
from solver.planner import solve
from solver.problem import Problem
from tests.solver.instances import random_fleet
from tests.solver.test_links import with_links


def fleet_behind_links(seed: int, *, tight: float = 1.0, **options: Any) -> Fleet:
    return with_links(random_fleet(seed, **options), seed, tight=tight)


@pytest.mark.parametrize(
    ("seed", "options"),
    [(2, {"rank_shape": "rising"}), (16, {"rank_budget": 3}), (23, {"rank_budget": 3})],
)
def test_changes_of_single_layers_keep_the_shape_and_the_budget_of_ranks(
    seed: int, options: dict[str, Any]
) -> None:
    fleet = fleet_behind_links(seed, tight=3.0, layers=2, devices=2, max_rank=3)
    problem = Problem.of(fleet, ranks=[1, 2, 3], **options)
    problem = problem.under(round_time_s=1.2 * (least_round_time_s(problem) or 0.0))
    assert check(solve(problem), fleet).failed == ()
