"""Problems with shared links that a search once got wrong, tight ones, and small ones."""

import math
from typing import Any

import pytest
from msgspec.structs import replace

from profiler.fleet import FleetRequest, preset_fleet
from profiler.fleet.links import draw_links
from profiler.schema import Fleet
from solver.allocation import mean_wait_s
from solver.check import check
from solver.errors import Infeasible, Stopped
from solver.exact import maximise_utility
from solver.least import least_round_time_s
from solver.links import capped_window as links_capped_window
from solver.links import plan as links_plan
from solver.plan import Plan, Structure
from solver.planner import solve
from solver.problem import Problem
from tests.solver.instances import random_fleet
from tests.solver.test_links import best_linked, with_links


def fleet_behind_links(seed: int, *, tight: float = 1.0, **options: Any) -> Fleet:
    return with_links(random_fleet(seed, **options), seed, tight=tight)


def preset(devices: int, access_points: int, sites: int, seed: int = 0) -> Fleet:
    fleet = preset_fleet(FleetRequest(seed=seed, devices=devices, model="", options={}))
    placed, links = draw_links(fleet.devices, access_points, sites, seed)
    return replace(fleet, devices=placed, links=links)


def within(problem: Problem, room: float) -> Problem:
    """The problem within some times the least feasible round time."""
    least_s = least_round_time_s(problem)
    assert least_s is not None
    return problem.under(round_time_s=room * least_s)


def verified(problem: Problem) -> Plan:
    plan = solve(problem)
    assert check(plan, problem.fleet).failed == ()
    return plan


def gap(plan: Plan) -> float:
    bound = plan.certificate.bound
    assert bound is not None
    return 1 - plan.certificate.value / bound


@pytest.mark.parametrize(
    ("seed", "options"),
    [(2, {"rank_shape": "rising"}), (16, {"rank_budget": 3}), (23, {"rank_budget": 3})],
)
def test_changes_of_single_layers_keep_the_shape_and_the_budget_of_ranks(
    seed: int, options: dict[str, Any]
) -> None:
    fleet = fleet_behind_links(seed, tight=3.0, layers=2, devices=2, max_rank=3)
    verified(within(Problem.of(fleet, ranks=[1, 2, 3], **options), 1.2))


@pytest.mark.parametrize("structure", ["shared", "capped", "own"])
@pytest.mark.parametrize("wait", [False, True])
def test_few_devices_with_few_ranks_get_the_best_plan(structure: Structure, wait: bool) -> None:
    """Nothing in between is best at any prices there, so mixes of ranks lead nowhere."""
    solved = 0
    for seed in range(14):
        fleet = fleet_behind_links(seed, tight=3.0, layers=2, devices=2, max_rank=3)
        problem = Problem.of(fleet, ranks=[1, 2, 3], structure=structure, min_depth=0)
        problem = within(problem, 1.5)
        if wait:
            problem = less_wait(problem, 0.97)
        best = best_linked(fleet, problem.question, structure)
        if best is None:
            continue
        solved += 1
        plan = verified(problem)
        assert plan.certificate.value == pytest.approx(best, rel=1e-9)
        assert plan.certificate.bound == pytest.approx(best, rel=1e-4)
    assert solved >= (2 if wait else 12)


@pytest.mark.parametrize("room", [1.02, 1.1, 1.35])
def test_a_round_that_is_hardly_long_enough(room: float) -> None:
    """Where links bind at the least depth, ranks themselves are limited, not only prices."""
    plan = verified(within(Problem.of(preset(0, 8, 2), ranks=[2, 4, 8, 16, 32]), room))
    assert gap(plan) <= 0.01


def test_ranks_with_caps_are_no_worse_than_without() -> None:
    fleet = preset(16, 2, 1, seed=1)
    plain, capped = (
        verified(within(Problem.of(fleet, structure=structure), 1.02))
        for structure in ("shared", "capped")
    )
    assert capped.certificate.value >= plain.certificate.value * (1 - 1e-9)
    assert gap(plain) <= 0.01


def less_wait(problem: Problem, share: float) -> Problem:
    """The problem with a share of the wait of its best plan as a budget."""
    free = maximise_utility(problem)
    return problem.under(mean_wait_s=share * mean_wait_s(problem, free.allocation))


def test_links_and_a_mean_wait() -> None:
    plan = verified(less_wait(within(Problem.of(preset(60, 6, 1)), 1.5), 0.8))
    assert gap(plan) <= 0.01


@pytest.mark.parametrize("structure", ["capped", "own"])
def test_a_wait_the_way_many_devices_go(
    structure: Structure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No plan is above the bound over windows of round times, nor found better than any."""
    monkeypatch.setattr(links_plan, "FEW_DEVICES", -1)
    monkeypatch.setattr(links_plan, "try_all", lambda *_: math.inf)
    solved = 0
    for seed in range(7):
        fleet = fleet_behind_links(seed, tight=3.0, layers=2, devices=3, max_rank=3)
        problem = Problem.of(fleet, ranks=[1, 2, 3], structure=structure, min_depth=0)
        problem = less_wait(within(problem, 1.5), 0.95)
        best = best_linked(fleet, problem.question, structure)
        try:
            certificate = verified(problem).certificate
        except (Infeasible, Stopped):
            continue
        solved += 1
        assert best is not None
        assert certificate.bound is not None
        assert certificate.value <= best * (1 + 1e-9)
        assert certificate.bound >= best * (1 - 1e-9)
    assert solved >= 3


def test_no_plan_with_caps_is_better_than_what_descends_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(links_plan, "try_all", lambda *_: math.inf)
    monkeypatch.setattr(links_capped_window, "_copies", lambda *_: math.inf)
    earned = 0
    for seed in range(5):
        fleet = fleet_behind_links(seed, tight=3.0, layers=2, devices=3, max_rank=3)
        problem = Problem.of(fleet, ranks=[1, 2, 3], structure="capped", min_depth=0)
        problem = within(problem, 1.5)
        best = best_linked(fleet, problem.question, "capped")
        bound = verified(problem).certificate.bound
        assert best is not None
        assert bound is not None
        assert bound >= best * (1 - 1e-9)
        earned += best > 0
    assert earned >= 2


@pytest.mark.parametrize("structure", ["shared", "capped", "own"])
def test_the_same_plan_twice(structure: Structure) -> None:
    fleet = fleet_behind_links(3, tight=3.0, devices=6)
    problem = within(Problem.of(fleet, ranks=[1, 2, 3, 4], structure=structure), 1.4)
    for asked in (problem, less_wait(problem, 0.95)):
        first, second = verified(asked), verified(asked)
        assert first.certificate == second.certificate
        assert first.devices == second.devices
        assert first.configurations == second.configurations
