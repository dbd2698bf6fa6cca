"""Capped ranks against exhaustive search, a mixed-integer program, shared and own ranks."""

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from profiler.gain.default import default_gain
from profiler.schema import Fleet
from solver.allocation import fits, utility
from solver.capped.bound import QUICK_WORK, lagrangian_bound
from solver.capped.climb import best_ranks
from solver.capped.plan import answer
from solver.check import check
from solver.errors import Infeasible
from solver.exact import maximise_utility
from solver.methods import plan_with
from solver.milp.solve import solve_milp
from solver.plan import Plan
from solver.planner import solve
from solver.problem import Problem
from solver.slopes.rooms import Rooms
from solver.uniform import largest_that_fit
from tests.solver.exhaustive import best_capped, weights
from tests.solver.exhaustive import options as depth_options
from tests.solver.instances import random_fleet
from tests.solver.questions import random_case, with_drop


def case(seed: int) -> tuple[Fleet, dict[str, Any]]:
    fleet, options = random_case(seed, slope_noise=0.3 * (seed % 2))
    return (with_drop(fleet, 0.5) if seed % 5 == 0 else fleet), options


def plan_of(fleet: Fleet, problem: Problem, **how: Any) -> Plan | None:
    try:
        plan = solve(problem, **how)
    except Infeasible:
        return None
    verdict = check(plan, fleet)
    assert verdict.ok, (problem.question, verdict.failed)
    return plan


def test_capped_is_nearly_always_the_best_and_never_above_its_bound() -> None:
    planned, best_found = 0, 0
    for seed in range(60):
        fleet, options = case(seed)
        problem = Problem.of(fleet, structure="capped", **options)
        best = best_capped(fleet, problem.question)
        plan = plan_of(fleet, problem)
        assert (plan is None) == (best is None), seed
        if plan is not None and best is not None:
            assert plan.certificate.bound is not None
            assert plan.certificate.value <= best * (1 + 1e-9)
            assert plan.certificate.bound >= best * (1 - 1e-9)
            planned += 1
            best_found += plan.certificate.value >= best * (1 - 1e-9)
    assert planned > 30
    assert best_found >= 0.95 * planned


def test_the_program_closes_what_the_decomposition_leaves_open() -> None:
    planned = 0
    for seed in range(100, 116):
        fleet, options = case(seed)
        problem = Problem.of(fleet, structure="capped", **options)
        best = best_capped(fleet, problem.question)
        for method in (solve_milp, plan_with):
            plan = plan_of(fleet, problem, using=method)
            assert (plan is None) == (best is None), seed
            if plan is not None:
                assert plan.certificate.value == pytest.approx(best, rel=1e-6)
                assert plan.certificate.gap_fraction == pytest.approx(0, abs=2e-4)
                planned += 1
    assert planned > 10


def test_capped_lies_between_shared_and_own() -> None:
    gained = 0
    for seed in range(200, 212):
        fleet = random_fleet(seed, layers=6, devices=12, classes=3, max_rank=8)
        options: dict[str, Any] = {"ranks": range(1, 9), "round_time_s": 12.0, "min_depth": 0}
        found = [
            maximise_utility(Problem.of(fleet, structure=structure, **options))
            for structure in ("shared", "capped", "own")
        ]
        shared, capped, own = (outcome.value for outcome in found)
        bound = found[1].bound
        assert bound is not None
        assert shared <= capped * (1 + 1e-12)
        assert capped <= bound <= own * (1 + 1e-9)
        gained += capped > shared * (1 + 1e-6)
    assert gained > 6


def test_the_bound_is_tighter_than_ranks_of_their_own() -> None:
    fleet = random_fleet(7, layers=8, devices=30, classes=4, max_rank=32)
    fleet = replace(fleet, gain=default_gain(8))
    options: dict[str, Any] = {"ranks": range(1, 33), "round_time_s": 14.0, "min_depth": 0}
    capped = maximise_utility(Problem.of(fleet, structure="capped", **options))
    own = maximise_utility(Problem.of(fleet, structure="own", **options))
    assert capped.bound is not None
    assert capped.bound - capped.value < 0.5 * (own.value - capped.value)
    assert capped.bound - capped.value < 0.01 * capped.value


def test_merged_groups_still_bound_and_still_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("solver.slopes.rooms.MOST_GROUPS", 2)
    for seed in range(300, 330):
        fleet, options = case(seed)
        problem = Problem.of(fleet, structure="capped", **options)
        best = best_capped(fleet, problem.question)
        plan = plan_of(fleet, problem)
        assert (plan is None) == (best is None)
        if plan is not None and best is not None:
            assert plan.certificate.bound is not None
            assert plan.certificate.value <= best * (1 + 1e-9)
            assert plan.certificate.bound >= best * (1 - 1e-9)
            rooms = Rooms.of(problem, optimistic=True)
            assert len(rooms.weights) <= 2
            assert rooms.weights.sum() == pytest.approx(1)


def test_any_incumbent_gives_a_valid_bound() -> None:
    for seed in range(400, 420):
        fleet, options = case(seed)
        problem = Problem.of(fleet, structure="capped", **options)
        best = best_capped(fleet, problem.question)
        if best is None:
            continue
        rng = np.random.default_rng(seed)
        ranks = rng.choice(problem.ranks, problem.layers)
        rooms = Rooms.of(problem, optimistic=True)
        for value in (0.0, best):
            bound = lagrangian_bound(problem, rooms, ranks, value, QUICK_WORK)
            assert bound >= best * (1 - 1e-9)


def test_an_answer_is_each_devices_best_depth_and_cap() -> None:
    for seed in range(500, 530):
        fleet, options = case(seed)
        options["rank_budget"] = None
        problem = Problem.of(fleet, structure="capped", **options)
        rng = np.random.default_rng(seed)
        ranks = rng.choice(problem.ranks, problem.layers)
        found = answer(problem, ranks)
        question = problem.question
        total = 0.0
        for i, (device, weight) in enumerate(
            zip(fleet.devices, weights(fleet, question), strict=True)
        ):
            gains = [
                gain
                for cap in question.rank_choices
                for gain, _ in depth_options(
                    fleet, question, device, tuple(np.minimum(ranks, cap).tolist())
                )
            ]
            assert (found.depth[i] < 0) == (not gains)
            total += weight * max(gains, default=0.0)
        assert utility(problem, found) == pytest.approx(total, rel=1e-12)


def test_capped_keeps_a_mean_wait_and_is_no_worse_than_shared() -> None:
    planned = 0
    for seed in range(600, 630):
        fleet, options = case(seed)
        options["mean_wait_s"] = float(np.random.default_rng(seed).uniform(0, 2))
        plans = [
            plan_of(fleet, Problem.of(fleet, structure=structure, **options))
            for structure in ("shared", "capped")
        ]
        shared, capped = plans
        assert (shared is None) == (capped is None)
        if shared is not None and capped is not None:
            assert capped.certificate.value >= shared.certificate.value * (1 - 1e-12)
            planned += 1
    assert planned > 5


def test_the_same_question_gives_the_same_plan() -> None:
    fleet = random_fleet(9, layers=5, devices=9, max_rank=6)
    problem = Problem.of(fleet, structure="capped", ranks=range(1, 7), round_time_s=12.0)
    assert solve(problem) == solve(problem)
    shared = maximise_utility(Problem.of(fleet, ranks=range(1, 7), round_time_s=12.0))
    ranks = best_ranks(problem, shared.allocation.rows[0])
    assert utility(problem, answer(problem, ranks)) >= shared.value * (1 - 1e-12)


def test_the_largest_cap_that_fits_is_the_last_that_does() -> None:
    """All devices and depths at once, against one row and depth after the other."""
    fitting, none = 0, 0
    for seed in range(40):
        fleet, options = case(seed)
        options["upload_codec"] = ("none", "int8")[seed % 2]
        problem = Problem.of(fleet, structure="capped", **options)
        costs, rng = problem.costs, np.random.default_rng(seed)
        ranks = rng.choice(problem.ranks, problem.layers)
        rows = np.minimum(ranks, problem.ranks[:, None])
        depths = np.arange(problem.layers + 1)
        found = largest_that_fit(costs, rows, depths)
        for k in depths.tolist():
            every = [
                fits(costs, rows, np.full(len(costs.devices), m), k) for m in range(len(rows))
            ]
            last = [max(np.flatnonzero(each), default=-1) for each in np.array(every).T]
            assert found[k].tolist() == last, (seed, k)
        fitting += int((found >= 0).sum())
        none += int((found < 0).sum())
    assert fitting > 100
    assert none > 20
