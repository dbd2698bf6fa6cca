"""Rank shapes and a greatest depth: against exhaustive search and the mixed-integer program."""

from typing import Any

import numpy as np
import pytest

from profiler.schema import Fleet, InputError
from solver.dp import rising as dp_rising
from solver.errors import Infeasible
from solver.exact import maximise_utility, utility_bound
from solver.milp.solve import solve_milp, violations
from solver.plan import RankShape
from solver.problem import Problem
from tests.solver.answers import answer, assert_brackets
from tests.solver.exhaustive import best_shared
from tests.solver.instances import random_fleet
from tests.solver.questions import more_options, random_case, with_drop

SHAPES: tuple[RankShape, ...] = ("rising", "progression")


def case(seed: int, **fleet: Any) -> tuple[Fleet, dict[str, Any]]:
    """A question about a shape, on up to 3 layers and 3 ranks, with all other choices."""
    made, options = random_case(seed, **fleet)
    more = more_options(made, np.random.default_rng([seed, 2]))
    if more["max_depth"] is not None:
        options["min_depth"] = min(options["min_depth"], more["max_depth"])
    return made, {**options, **more}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("batch", range(3))
def test_every_shape_is_optimal(shape: str, batch: int) -> None:
    proven = tried = 0
    for seed in range(30_000 + batch * 40, 30_040 + batch * 40):
        fleet, options = case(seed)
        problem = Problem.of(fleet, **{**options, "rank_shape": shape})
        certificate = answer(fleet, problem)
        assert_brackets(certificate, best_shared(fleet, problem.question).value)
        tried += certificate is not None
        proven += certificate is not None and certificate.status == "optimal"
    assert proven >= 0.9 * tried > 10


@pytest.mark.parametrize("shape", SHAPES)
def test_general_costs_and_a_mean_wait_are_bracketed(shape: str) -> None:
    proven = 0
    for seed in range(31_000, 31_060):
        fleet, options = case(seed, slope_noise=0.3)
        fleet = with_drop(fleet, 0.4) if seed % 3 == 0 else fleet
        if seed % 2:
            share = float(np.random.default_rng(seed).uniform(0, 0.3))
            options["mean_wait_s"] = share * (options["round_time_s"] or 5.0)
        problem = Problem.of(fleet, **{**options, "rank_shape": shape})
        certificate = answer(fleet, problem)
        assert_brackets(certificate, best_shared(fleet, problem.question).value)
        proven += certificate is not None and certificate.status == "optimal"
    assert shape == "rising" or proven > 15


@pytest.mark.parametrize("shape", SHAPES)
def test_the_least_time_is_optimal(shape: RankShape) -> None:
    for seed in range(33_000, 33_030):
        fleet, options = case(seed)
        options |= {"rank_shape": shape, "min_utility": 0.4}
        problem = Problem.of(fleet, objective="time", **options)
        best = best_shared(fleet, problem.question).value
        found = answer(fleet, problem)
        assert (found is None) == (best is None)
        if found is not None and best is not None and found.bound is not None:
            assert found.bound * (1 - 1e-9) <= best <= found.value * (1 + 1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_mixed_integer_program_agrees(shape: str) -> None:
    for seed in range(32_000, 32_008):
        fleet, options = case(seed, devices=3, slope_noise=0.2 * (seed % 2))
        problem = Problem.of(fleet, **{**options, "rank_shape": shape})
        best = best_shared(fleet, problem.question).value
        try:
            found = solve_milp(problem)
        except Infeasible:
            assert best is None
            continue
        assert violations(problem, found.allocation) == []
        assert found.value == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("budget", [None, 14])
@pytest.mark.parametrize("sizes", [(), (32, 64, 64, 96, 64, 64)])
def test_shapes_nest(budget: int | None, sizes: tuple[int, ...]) -> None:
    for seed in range(6):
        fleet = random_fleet(seed, layers=6, devices=9, max_rank=6, sizes=sizes, concave=False)
        values = {}
        shapes: tuple[RankShape, ...] = ("free", *SHAPES)
        for shape in shapes:
            problem = Problem.of(
                fleet,
                ranks=range(1, 7),
                min_depth=0,
                round_time_s=16.0,
                rank_budget=budget,
                rank_shape=shape,
            )
            found = maximise_utility(problem)
            values[shape] = found.value
            assert found.bound == pytest.approx(found.value, rel=1e-9)
            assert utility_bound(problem) >= found.value * (1 - 1e-12)
        assert values["progression"] <= values["rising"] * (1 + 1e-12)
        assert values["rising"] <= values["free"] * (1 + 1e-12)


def test_a_shape_needs_shared_ranks() -> None:
    with pytest.raises(InputError, match="shared"):
        Problem.of(random_fleet(0), ranks=[1, 2], structure="own", rank_shape="rising")


def test_depths_out_of_order_are_refused() -> None:
    for least, most in ((2, 1), (0, 4), (0, -1)):
        with pytest.raises(InputError, match="max_depth"):
            Problem.of(random_fleet(0, layers=3), min_depth=least, max_depth=most)


def test_a_table_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dp_rising, "MOST_CELLS", 100)
    problem = Problem.of(random_fleet(0), ranks=range(1, 5), rank_shape="rising")
    with pytest.raises(InputError, match="fewer --ranks"):
        maximise_utility(problem)
