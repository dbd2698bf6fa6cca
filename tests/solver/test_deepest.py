"""Objective `legend`: as deep as possible, ties by utility, against exhaustive search."""

from typing import Any

import numpy as np
import pytest

from profiler.schema import Fleet, InputError
from solver.check import check
from solver.deepest import mean_depth
from solver.errors import Infeasible
from solver.milp.solve import solve_milp
from solver.plan import Plan
from solver.planner import solve
from solver.problem import Problem
from tests.solver.exhaustive import Best, best_shared
from tests.solver.instances import random_fleet
from tests.solver.questions import more_options, random_case


def case(seed: int, **fleet: Any) -> tuple[Fleet, Problem]:
    made, options = random_case(seed, **fleet)
    more = more_options(made, np.random.default_rng([seed, 3]))
    if more["max_depth"] is not None:
        options["min_depth"] = min(options["min_depth"], more["max_depth"])
    return made, Problem.of(made, objective="legend", **{**options, **more})


def answer(fleet: Fleet, problem: Problem) -> Plan | None:
    try:
        plan = solve(problem)
    except Infeasible:
        return None
    assert check(plan, fleet).ok, check(plan, fleet).failed
    return plan


def both(fleet: Fleet, problem: Problem) -> tuple[Plan, Best] | None:
    """A plan and the best there is, which is deepest and within the bound; None without."""
    plan, best = answer(fleet, problem), best_shared(fleet, problem.question)
    assert (plan is None) == (best.value is None)
    if plan is None or best.value is None:
        return None
    assert plan.certificate.value <= best.value * (1 + 1e-9)
    assert plan.certificate.bound is not None
    assert plan.certificate.bound >= best.value * (1 - 1e-9)
    return plan, best


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_everybody_is_as_deep_as_can_be(noise: float) -> None:
    ties = 0
    for seed in range(40_000, 40_080):
        found = both(*case(seed, slope_noise=noise))
        if found is not None:
            plan, best = found
            assert plan.certificate.status == "optimal"
            assert plan.certificate.value == pytest.approx(best.value, rel=1e-9)
            proven = "not proven" not in plan.certificate.method
            if proven:
                assert plan.predicted.utility == pytest.approx(best.utility, rel=1e-9)
            ties += proven
    assert ties > (0 if noise else 20)


def test_a_mean_wait_is_bracketed() -> None:
    optimal = tried = 0
    for seed in range(41_000, 41_060):
        fleet, problem = case(seed)
        share = float(np.random.default_rng(seed).uniform(0, 0.3))
        limit_s = share * (problem.question.budgets.round_time_s or 5.0)
        found = both(fleet, problem.under(mean_wait_s=limit_s))
        if found is not None:
            tried += 1
            optimal += found[0].certificate.value >= (found[1].value or 0.0) * (1 - 1e-9)
    assert optimal >= 0.9 * tried > 10


def test_the_mixed_integer_program_agrees() -> None:
    for seed in range(42_000, 42_006):
        fleet, problem = case(seed, devices=3)
        limit_s = 0.1 * (problem.question.budgets.round_time_s or 5.0)
        for posed in (problem, problem.under(mean_wait_s=limit_s)):
            best = best_shared(fleet, posed.question)
            try:
                found = solve_milp(posed)
            except Infeasible:
                assert best.value is None
                continue
            assert found.value == pytest.approx(best.value, rel=1e-6)
            assert found.value == mean_depth(posed, found.allocation)


def test_utility_breaks_ties() -> None:
    """Ranks as high as everybody's depth allows, not the least ones."""
    fleet = random_fleet(5, layers=4, devices=6, max_rank=4)
    plan = answer(fleet, Problem.of(fleet, objective="legend", ranks=range(1, 5)))
    assert plan is not None
    assert max(plan.ranks) > 1


def test_it_is_for_shared_ranks_and_the_exact_policy() -> None:
    fleet = random_fleet(0)
    with pytest.raises(InputError, match="shared ranks"):
        solve(Problem.of(fleet, objective="legend", structure="own"))
    with pytest.raises(InputError, match="no objective"):
        solve(Problem.of(fleet, objective="legend", policy="legend"))
