"""`--method`: every way to answer, against exhaustive search and within time limits."""

import time
from functools import partial
from typing import Any

import numpy as np
import pytest

from profiler.schema import Fleet, InputError
from solver.allocation import shared, utility
from solver.check import check
from solver.costs.capacity import exact
from solver.deadline import expired, within
from solver.errors import Infeasible
from solver.methods import HEURISTICS, METHODS, Method, described, plan_with
from solver.methods.anneal import _Landscape
from solver.plan import Structure
from solver.planner import solve
from solver.problem import Problem
from tests.solver.exhaustive import best_capped, best_shared
from tests.solver.instances import random_fleet
from tests.solver.questions import mean_wait, random_case

EXACT: tuple[Method, ...] = ("auto", "branch", "milp", "milp-disaggregated")
QUICK: tuple[Method, ...] = ("auto", "dp", "branch", *HEURISTICS)


def posed(seed: int, method: Method, **fleet: Any) -> tuple[Fleet, Problem]:
    """A random question of the kind that a method answers."""
    made, options = random_case(seed, **fleet)
    return made, Problem.of(made, structure=structure_of(method), **options)


def structure_of(method: Method) -> Structure:
    return "capped" if method == "decomposition" else "shared"


def best(fleet: Fleet, problem: Problem) -> float | None:
    if problem.question.structure == "capped":
        return best_capped(fleet, problem.question)
    return best_shared(fleet, problem.question).value


def answered(fleet: Fleet, problem: Problem, method: Method, **how: Any) -> Any:
    """The checked plan of a method, or None where there is none."""
    try:
        plan = solve(problem, using=partial(plan_with, method=method, **how))
    except Infeasible:
        return None
    verdict = check(plan, fleet)
    assert verdict.ok, (method, verdict.failed)
    return plan.certificate


@pytest.mark.parametrize("method", [*QUICK, "decomposition"])
def test_no_method_beats_the_best_and_no_bound_falls_below_it(method: Method) -> None:
    planned = 0
    for seed in range(2000, 2025):
        fleet, problem = posed(seed, method, slope_noise=0.3 * (seed % 2))
        most = best(fleet, problem)
        found = answered(fleet, problem, method)
        assert (found is None) == (most is None), seed
        if found is not None and most is not None:
            assert found.value <= most * (1 + 1e-9)
            assert found.bound >= most * (1 - 1e-9)
            planned += 1
            if method in ("auto", "branch"):
                assert found.value == pytest.approx(most, rel=1e-3)
    assert planned > 12


@pytest.mark.parametrize("method", ["milp", "milp-disaggregated"])
@pytest.mark.parametrize("seed", [5, 6])
def test_the_programs_find_the_best(method: Method, seed: int) -> None:
    fleet, problem = posed(seed, method, devices=3)
    found = answered(fleet, problem, method)
    most = best(fleet, problem)
    assert found.value == pytest.approx(most, rel=1e-9)
    assert found.bound == pytest.approx(most, rel=1e-7)


@pytest.mark.parametrize("method", HEURISTICS)
def test_heuristics_come_near_keep_budgets_and_repeat_themselves(method: Method) -> None:
    fleet = random_fleet(3, layers=6, devices=20, classes=3, max_rank=16)
    options: dict[str, Any] = {"ranks": range(1, 17), "min_depth": 0, "round_time_s": 12.0}
    for budgets in ({}, {"rank_budget": 20}, {"mean_wait_s": 4.0}):
        problem = Problem.of(fleet, **options, **budgets)
        found = answered(fleet, problem, method, seed=1)
        proven = answered(fleet, problem, "dp")
        assert found.value <= proven.bound * (1 + 1e-9)
        assert found.bound <= proven.bound * (1 + 1e-9)
        # Short of the optimum, but not nowhere.
        assert found.value >= 0.5 * proven.value
        assert answered(fleet, problem, method, seed=1) == found


def test_the_annealers_landscape_is_the_utility() -> None:
    compared = 0
    for seed in range(2100, 2130):
        fleet, options = random_case(seed)
        options |= {"min_depth": 0, "rank_budget": None}
        problem = Problem.of(fleet, **options)
        if not exact(problem.costs, problem.question.rank_choices[-1]):
            continue
        rng = np.random.default_rng(seed)
        index = rng.integers(0, len(problem.ranks), problem.layers)
        ranks = problem.ranks[index]
        value = _Landscape.of(problem).value(index.tolist())
        assert value == pytest.approx(utility(problem, shared(problem, ranks)), rel=1e-9)
        compared += 1
    assert compared > 10


@pytest.mark.parametrize("method", [*QUICK, "decomposition"])
def test_a_time_limit_leaves_a_plan_and_a_bound_that_hold(method: Method) -> None:
    planned = 0
    for seed in range(2200, 2210):
        fleet, problem = posed(seed, method, slope_noise=0.3 * (seed % 2))
        most = best(fleet, problem)
        found = answered(fleet, problem, method, time_limit_s=0.0)
        assert (found is None) == (most is None)
        if found is not None and most is not None:
            assert found.value <= most * (1 + 1e-9)
            assert found.bound >= most * (1 - 1e-9)
            planned += 1
    assert planned > 4


def test_a_plan_says_that_it_was_cut_short() -> None:
    fleet = random_fleet(1, layers=6, classes=5, devices=80, max_rank=16, slope_noise=0.2)
    problem = Problem.of(fleet, ranks=range(1, 17), round_time_s=30.0, min_depth=0)
    cut = answered(fleet, problem, "auto", time_limit_s=0.0)
    whole = answered(fleet, problem, "auto")
    assert "cut short by the time limit" in cut.method
    assert cut.status == "feasible"
    assert "cut short" not in whole.method
    assert whole.status in ("optimal", "gap_reached")
    assert cut.value <= whole.bound
    assert cut.bound >= whole.value


def test_auto_says_why() -> None:
    seen = set()
    structures: tuple[Structure, ...] = ("shared", "capped", "own")
    for seed in range(2300, 2340):
        fleet, options = random_case(seed, slope_noise=0.5 * (seed % 2))
        structure = structures[seed % 3]
        if structure == "own":
            options["rank_budget"] = None
        wait_s = mean_wait(Problem.of(fleet, **options), 0.3) if seed % 4 == 0 else None
        problem = Problem.of(fleet, structure=structure, mean_wait_s=wait_s, **options)
        found = answered(fleet, problem, "auto")
        if found is not None:
            assert found.method.startswith(("auto: ", "mixed-integer"))
            assert "since" in found.method
            seen.add(found.method.partition("since")[2].partition(";")[0])
    assert len(seen) >= 4


def test_auto_closes_the_gap_of_small_questions() -> None:
    closed = 0
    for seed in range(1000, 1100):
        fleet, problem = posed(seed, "auto", slope_noise=0.5)
        try:
            alone = plan_with(problem, method="dp")
        except Infeasible:
            continue
        if alone.bound == alone.value:
            continue
        both = plan_with(problem)
        most = best(fleet, problem)
        assert both.value == pytest.approx(most, rel=1e-9)
        assert both.bound == pytest.approx(most, rel=1e-7)
        closed += 1
        if closed == 3:
            return
    pytest.fail("no question left a gap")


@pytest.mark.parametrize("method", METHODS)
def test_infeasible_stays_infeasible(method: Method) -> None:
    fleet, options = random_case(1)
    structure = structure_of(method)
    problem = Problem.of(fleet, structure=structure, **{**options, "round_time_s": 1e-3})
    with pytest.raises(Infeasible):
        plan_with(problem, method=method)


@pytest.mark.parametrize("method", [*HEURISTICS, "branch", "decomposition"])
def test_a_method_refuses_what_it_does_not_answer(method: Method) -> None:
    fleet, options = random_case(2)
    problem = Problem.of(fleet, structure="own", **{**options, "rank_budget": None})
    with pytest.raises(InputError, match=f"method '{method}'"):
        plan_with(problem, method=method)


def test_unknown_methods_and_limits_are_named() -> None:
    _, problem = posed(2, "auto")
    with pytest.raises(InputError, match="no method 'magic'; expected one of auto, dp"):
        plan_with(problem, method="magic")  # type: ignore[arg-type]
    for limit in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="time limit"):
            plan_with(problem, time_limit_s=limit)
    assert all(name in described() for name in METHODS)


def test_deadlines_nest_and_end() -> None:
    assert not expired()
    with within(60.0) as outer:
        with within(0.0) as inner:
            assert expired()
        assert inner.cut_short
        assert outer.cut_short
        with within(None) as patient:
            assert patient.left_s() <= 60
            assert not expired()
        with within(3600.0) as longer:
            assert longer.left_s() <= 60
    assert not expired()
    with within(0.01) as clock:
        time.sleep(0.02)
        assert clock.left_s() == 0
        assert not clock.cut_short
        assert expired()
        assert clock.cut_short
