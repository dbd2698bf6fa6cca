"""Prefix caches, codecs and a greatest depth: against exhaustive search."""

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from profiler.schema import Fleet
from solver.check import check
from solver.errors import Infeasible
from solver.exact import maximise_utility
from solver.milp.solve import solve_milp
from solver.planner import solve
from solver.problem import Problem
from tests.solver.answers import answer, assert_brackets
from tests.solver.exhaustive import best_capped, best_own, best_shared
from tests.solver.instances import random_fleet
from tests.solver.questions import more_options, random_case, with_drop


def case(seed: int, **fleet: Any) -> tuple[Fleet, dict[str, Any]]:
    made, options = random_case(seed, **fleet)
    rng = np.random.default_rng([seed, 1])
    more = {**more_options(made, rng), "rank_shape": "free"}
    if more["max_depth"] is not None:
        options["min_depth"] = min(options["min_depth"], more["max_depth"])
    # Two or more modules, so that the scales of int8 are no small part.
    targets = made.model.targets * int(rng.integers(1, 4))
    return replace(made, model=replace(made.model, targets=targets)), {**options, **more}


@pytest.mark.parametrize("batch", range(4))
def test_shared_ranks_are_optimal(batch: int) -> None:
    proven = 0
    for seed in range(20_000 + batch * 40, 20_040 + batch * 40):
        fleet, options = case(seed)
        problem = Problem.of(fleet, **options)
        certificate = answer(fleet, problem)
        assert_brackets(certificate, best_shared(fleet, problem.question).value)
        proven += certificate is None or certificate.status == "optimal"
    assert proven >= 36


@pytest.mark.parametrize("batch", range(2))
def test_general_costs_are_bracketed(batch: int) -> None:
    for seed in range(21_000 + batch * 40, 21_040 + batch * 40):
        fleet, options = case(seed, slope_noise=0.3)
        fleet = with_drop(fleet, 0.4) if seed % 2 else fleet
        problem = Problem.of(fleet, **options)
        assert_brackets(answer(fleet, problem), best_shared(fleet, problem.question).value)


def test_capped_ranks_are_bracketed() -> None:
    for seed in range(24_000, 24_020):
        fleet, options = case(seed)
        problem = Problem.of(fleet, structure="capped", **options)
        assert_brackets(answer(fleet, problem), best_capped(fleet, problem.question))


def test_who_is_unable_is_left_out() -> None:
    absent = 0
    for seed in range(25_000, 25_040):
        fleet, options = case(seed)
        options["round_time_s"] = 0.4 * (options["round_time_s"] or 20.0)
        try:
            plan = solve(Problem.of(fleet, leave_out="unable", **options))
        except Infeasible:
            continue
        assert check(plan, fleet).ok, check(plan, fleet).failed
        absent += any(d.configuration is None for d in plan.devices)
    assert absent > 3


@pytest.mark.parametrize("cache", ["off", "auto"])
@pytest.mark.parametrize("codecs", [("none", "none"), ("int8", "none"), ("float16", "int8")])
def test_the_arc_form_agrees(cache: Any, codecs: Any) -> None:
    fleet = random_fleet(1, layers=6, classes=3, devices=20, max_rank=6)
    problem = Problem.of(
        fleet,
        ranks=range(1, 7),
        round_time_s=20.0,
        cache=cache,
        upload_codec=codecs[0],
        download_codec=codecs[1],
        max_depth=5,
    )
    exact = maximise_utility(problem)
    assert exact.method == "dynamic program"
    assert solve_milp(problem, form="arcs").value == pytest.approx(exact.value, rel=1e-9)


def test_own_ranks_are_bracketed() -> None:
    for seed in range(22_000, 22_040):
        fleet, options = case(seed)
        options.pop("rank_budget", None)
        problem = Problem.of(fleet, structure="own", **options)
        assert_brackets(answer(fleet, problem), best_own(fleet, problem.question).value)


@pytest.mark.parametrize("objective", ["utility", "time", "efficiency"])
def test_a_mean_wait_and_the_other_objectives(objective: Any) -> None:
    for seed in range(23_000, 23_040):
        fleet, options = case(seed)
        if objective == "utility":
            share = float(np.random.default_rng(seed).uniform(0, 0.3))
            options["mean_wait_s"] = share * (options["round_time_s"] or 5.0)
        elif objective == "time":
            options["min_utility"] = 0.0
        problem = Problem.of(fleet, objective=objective, **options)
        found, best = answer(fleet, problem), best_shared(fleet, problem.question).value
        if objective == "time" and found is not None and best is not None:
            assert found.bound is not None
            assert found.bound * (1 - 1e-9) <= best <= found.value * (1 + 1e-9)
        elif found is None or objective != "time":
            assert_brackets(found, best)
