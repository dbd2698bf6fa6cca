"""Problems with shared links that a search once got wrong, tight ones, and small ones."""

import math
from typing import Any

import pytest

from profiler.schema import Fleet
from solver.errors import Infeasible, Stopped
from solver.links import capped_window as links_capped_window
from solver.links import plan as links_plan
from solver.plan import Structure
from solver.problem import Problem
from tests.solver.answers import gap, verified
from tests.solver.instances import random_fleet
from tests.solver.linked import preset, with_links
from tests.solver.mixed import best_value
from tests.solver.questions import less_wait, within


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
        best = best_value(fleet, problem.question, structure)
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
        best = best_value(fleet, problem.question, structure)
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
        best = best_value(fleet, problem.question, "capped")
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
