"""Every policy on random fleets: its plans pass the checker and do what its paper says."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from profiler.schema import Fleet
from solver.check import check
from solver.errors import Infeasible
from solver.plan import Plan
from solver.planner import solve
from solver.policies import POLICIES
from solver.problem import Problem
from solver.progression import progressions
from tests.solver.exhaustive import best_depths, best_shared, fits, need
from tests.solver.instances import random_fleet
from tests.solver.questions import random_case, with_drop

BASELINES = [name for name in POLICIES if name != "exact"]


def plan_of(fleet: Fleet, problem: Problem) -> Plan | None:
    try:
        plan = solve(problem)
    except Infeasible:
        return None
    verdict = check(plan, fleet)
    assert verdict.ok, (problem.question, verdict.failed)
    return plan


@pytest.mark.parametrize("policy", BASELINES)
def test_every_plan_is_sound_and_no_better_than_its_bound(policy: str) -> None:
    planned = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        fleet, options = random_case(seed, slope_noise=0.3 * (seed % 2))
        fleet = with_drop(fleet, 0.5) if seed % 3 == 0 else fleet
        if seed % 4 == 0:
            options["mean_wait_s"] = float(rng.uniform(0, 2))
        plan = plan_of(fleet, Problem.of(fleet, policy=policy, **options))
        planned += plan is not None
        if plan is not None:
            assert plan.certificate.gap_fraction is not None
            assert plan.certificate.gap_fraction >= 0
    assert planned > 10


def progressions_by_hand(choices: list[int], layers: int) -> set[tuple[int, ...]]:
    """Ranks from the output that fall by a constant step until they reach the least."""
    steps = range(choices[-1] - choices[0] + 1)
    every = (
        tuple(max(first - step * j, choices[0]) for j in range(layers))
        for first, step in product(choices, steps)
    )
    return {ranks for ranks in every if set(ranks) <= set(choices)}


@pytest.mark.parametrize("choices", [[1], [3], [1, 2, 3, 4], [4, 8, 16], [2, 3, 7, 9]])
@pytest.mark.parametrize("layers", [1, 2, 5])
def test_progressions_are_all_and_distinct(choices: list[int], layers: int) -> None:
    found = progressions(np.array(choices), layers)
    assert len(found) == len(progressions_by_hand(choices, layers))
    assert set(map(tuple, found.tolist())) == progressions_by_hand(choices, layers)


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("wait", [False, True])
def test_legend_is_the_best_progression(noise: float, wait: bool) -> None:
    for seed in [*range(100, 140), 276, 386, 462]:
        fleet, options = random_case(seed, slope_noise=noise)
        if wait:
            options["mean_wait_s"] = float(np.random.default_rng(seed).uniform(0, 2))
        problem = Problem.of(fleet, policy="legend", **options)
        plan = plan_of(fleet, problem)
        question = problem.question
        budget = question.budgets.rank_budget
        candidates = {
            ranks[: sum(sum(ranks[: k + 1]) <= budget for k in range(len(ranks)))]
            if budget is not None
            else ranks
            for ranks in progressions_by_hand(question.rank_choices, problem.layers)
        }
        values = [best_depths(fleet, question, ranks).value for ranks in candidates]
        best = max((v for v in values if v is not None), default=None)
        assert (plan is None) == (best is None), seed
        if plan is not None:
            assert plan.certificate.value == pytest.approx(best, rel=1e-12), seed
            falling = plan.ranks[::-1][: max(c.depth for c in plan.configurations)]
            assert falling == sorted(falling, reverse=True)


def affordable(fleet: Fleet, problem: Problem, rank: int) -> list[bool]:
    layers = problem.layers
    budget = problem.question.budgets.rank_budget
    return [
        fits(fleet, d, problem.question, need(fleet, d, (rank,) * layers, layers))
        and (budget is None or rank * layers <= budget)
        for d in fleet.devices
    ]


def ranks_of(plan: Plan) -> list[int]:
    """Uniform rank of each device; 0 where it is left out."""
    found = []
    for device in plan.devices:
        shape = plan.configuration_of(device)
        assert shape is None or len(set(shape.ranks)) == 1
        found.append(0 if shape is None else shape.ranks[0])
    return found


def test_fedlora_gives_everybody_the_largest_rank_that_all_afford() -> None:
    for seed in range(200, 260):
        fleet, options = random_case(seed, slope_noise=0.3)
        problem = Problem.of(fleet, policy="fedlora", **options)
        plan = plan_of(fleet, problem)
        good = [r for r in options["ranks"] if all(affordable(fleet, problem, r))]
        assert (plan is None) == (not good)
        if plan is not None:
            assert ranks_of(plan) == [good[-1]] * len(fleet.devices)


def test_fedlora_exclusive_leaves_out_who_cannot_afford_it() -> None:
    for seed in range(300, 360):
        fleet, options = random_case(seed, slope_noise=0.3)
        problem = Problem.of(fleet, policy="fedlora-exclusive", **options)
        plan = plan_of(fleet, problem)
        able = {r: affordable(fleet, problem, r) for r in options["ranks"]}
        assert (plan is None) == (not any(map(any, able.values())))
        if plan is not None:
            ranks = ranks_of(plan)
            assert [r > 0 for r in ranks] == able[max(ranks)]
            out = [d for d in plan.devices if d.configuration is None]
            assert all(
                d.binding in {"round time", "memory", "upload", "download", "energy"}
                for d in out
            )


def test_fedlora_straggler_waits_for_the_slowest() -> None:
    fleet = random_fleet(5, max_rank=4)
    fleet = replace(fleet, devices=[replace(d, memory_bytes=0) for d in fleet.devices])
    budgets: dict[str, Any] = {"round_time_s": 0.01, "mean_wait_s": 0.01, "min_depth": 1}
    fast = Problem.of(fleet, policy="fedlora-straggler", ranks=[1, 2, 3, 4], **budgets)
    plan = plan_of(fleet, fast)
    assert plan is not None
    assert ranks_of(plan) == [4] * len(fleet.devices)
    assert plan.question.budgets.round_time_s is None
    assert plan.question.budgets.mean_wait_s is None


def test_hetlora_gives_each_device_the_largest_rank_it_affords() -> None:
    for seed in range(400, 460):
        fleet, options = random_case(seed, slope_noise=0.3)
        problem = Problem.of(fleet, policy="hetlora", **options)
        plan = plan_of(fleet, problem)
        able = {r: affordable(fleet, problem, r) for r in options["ranks"]}
        expected = [
            max((r for r in able if able[r][i]), default=0) for i in range(len(fleet.devices))
        ]
        assert (plan is None) == (not any(expected))
        if plan is not None:
            assert ranks_of(plan) == expected
            assert plan.question.structure == "capped"


def test_no_policy_with_shared_ranks_beats_the_exact_one() -> None:
    for seed in range(500, 540):
        fleet, options = random_case(seed)
        best = best_shared(fleet, Problem.of(fleet, **options).question).value
        for policy in ("legend", "fedlora"):
            plan = plan_of(fleet, Problem.of(fleet, policy=policy, **options))
            if plan is not None:
                assert best is not None
                assert plan.certificate.value <= best * (1 + 1e-9)
