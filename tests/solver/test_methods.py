"""`--method`: the general solver closes what the dynamic program leaves open."""

from dataclasses import replace
from functools import partial

import pytest

from solver.check import check
from solver.errors import Infeasible, Stopped
from solver.methods import METHODS, Method, plan_with
from solver.planner import solve
from solver.problem import Problem
from tests.solver.exhaustive import best_shared
from tests.solver.questions import random_case


@pytest.mark.parametrize("method", METHODS)
def test_every_method_makes_a_plan_that_the_checker_passes(method: Method) -> None:
    for seed in (2, 5):
        fleet, options = random_case(seed, devices=3)
        problem = Problem.of(fleet, **{**options, "rank_budget": None, "round_time_s": None})
        plan = solve(problem, using=partial(plan_with, method=method))
        assert check(plan, fleet).ok
        assert plan.certificate.value == pytest.approx(
            best_shared(fleet, problem.question).value, rel=1e-9
        )


def test_auto_closes_the_gap_of_small_questions() -> None:
    closed = 0
    for seed in range(1000, 1100):
        fleet, options = random_case(seed, slope_noise=0.5)
        problem = Problem.of(fleet, **options)
        try:
            alone = plan_with(problem, method="dp")
        except Infeasible:
            continue
        if alone.bound == alone.value:
            continue
        both = plan_with(problem)
        best = best_shared(fleet, problem.question).value
        assert best is not None
        assert both.value == pytest.approx(best, rel=1e-9)
        assert both.bound == pytest.approx(best, rel=1e-7)
        closed += 1
        if closed == 3:
            return
    pytest.fail("no question left a gap")


def test_infeasible_stays_infeasible() -> None:
    fleet, options = random_case(1)
    for method in METHODS:
        with pytest.raises(Infeasible):
            plan_with(Problem.of(fleet, **{**options, "round_time_s": 1e-3}), method=method)


def test_a_solver_that_stops_leaves_the_other_plan() -> None:
    for seed in range(1000, 1100):
        fleet, options = random_case(seed, slope_noise=0.5)
        problem = Problem.of(fleet, **options)
        try:
            alone = plan_with(problem, method="dp")
        except Infeasible:
            continue
        if alone.bound == alone.value:
            continue
        kept = plan_with(problem, time_limit_s=0.01)
        assert (kept.value, kept.bound) == (alone.value, alone.bound)
        with pytest.raises(Stopped):
            plan_with(replace(problem), method="milp", time_limit_s=0.01)
        return
    pytest.fail("no question left a gap")
