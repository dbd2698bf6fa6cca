"""A budget on the mean wait where waits are filled: it holds of what is left of them."""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from profiler.schema import Fleet
from solver.check import check
from solver.errors import Infeasible, Stopped
from solver.plan import Plan, Question
from solver.planner import solve
from solver.prices import prices
from solver.problem import Problem
from tests.solver.exhaustive import fits, layer_gain, need, rank_vectors, weights
from tests.solver.instances import random_fleet

SLACK = 1e-9


def most_utility(fleet: Fleet, question: Question) -> float | None:
    """Largest utility of all shared ranks and depths whose filled waits keep the budget."""
    limit_s, best = question.budgets.mean_wait_s, None
    assert limit_s is not None
    heads = sum(d.count for d in fleet.devices)
    share = weights(fleet, question)
    for ranks in rank_vectors(fleet.model.layers, question):
        every = []
        for device in fleet.devices:
            longer = replace(device, local_steps=device.local_steps + 1)
            options = []
            for depth in range(question.min_depth, len(ranks) + 1):
                needs = need(fleet, device, ranks, depth, question)
                if fits(fleet, device, question, needs):
                    step_s = need(fleet, longer, ranks, depth, question).time_s - needs.time_s
                    gain = math.fsum(layer_gain(fleet, j, ranks[j]) for j in range(depth))
                    options.append((gain, needs.time_s, step_s))
            every.append(options)
        for chosen in product(*every):
            round_s = max(time_s for _, time_s, _ in chosen)
            waits = 0.0
            for device, (_, time_s, step_s) in zip(fleet.devices, chosen, strict=True):
                most = math.floor(question.fill_wait * device.local_steps) - device.local_steps
                more = min(math.floor((round_s - time_s) / step_s), most)
                waits += device.count * (round_s - time_s - more * step_s)
            if waits / heads <= limit_s * (1 + SLACK):
                value = math.fsum(w * o[0] for w, o in zip(share, chosen, strict=True))
                best = value if best is None else max(best, value)
    return best


def case(seed: int) -> tuple[Fleet, Problem]:
    rng = np.random.default_rng(seed)
    fleet = random_fleet(seed, layers=2, devices=3, max_rank=3)
    fleet = replace(fleet, devices=[replace(d, memory_bytes=0) for d in fleet.devices])
    return fleet, Problem.of(
        fleet,
        ranks=[1, 2, 3],
        min_depth=int(rng.integers(0, 2)),
        round_time_s=float(rng.uniform(8, 30)),
        mean_wait_s=float(rng.uniform(0.2, 2)),
        fill_wait=float(rng.uniform(1.1, 4)),
    )


def test_no_plan_that_keeps_the_filled_wait_passes_the_bound() -> None:
    proven = better = lost = 0
    for seed in range(60):
        fleet, problem = case(seed)
        best = most_utility(fleet, problem.question)
        try:
            plan = solve(problem)
        except (Infeasible, Stopped) as error:
            if error.exit_code == 3 and best is not None:
                pytest.fail(f"seed {seed} is said to have no plan")
            lost += best is not None
            continue
        assert check(plan, fleet).ok, (seed, check(plan, fleet).failed)
        assert best is not None
        bound = plan.certificate.bound
        assert bound is not None
        assert plan.predicted.utility <= best * (1 + SLACK), seed
        assert bound >= best * (1 - SLACK), seed
        if plan.certificate.status == "optimal":
            proven += 1
            assert math.isclose(plan.predicted.utility, best, rel_tol=1e-9), seed
        better += plan.predicted.utility > strict(problem) * (1 + SLACK)
    assert proven > 10
    assert better > 10
    assert lost < 10


def strict(problem: Problem) -> float:
    """Utility of the plan that keeps the budget before waits are filled; 0 without one."""
    asked = replace(problem.question, fill_wait=1.0)
    try:
        return solve(problem.asking(asked)).predicted.utility
    except (Infeasible, Stopped):
        return 0.0


def roomy() -> Fleet:
    fleet = random_fleet(5, layers=3, devices=5, max_rank=4)
    return replace(fleet, devices=[replace(d, memory_bytes=0) for d in fleet.devices])


POLICIES = ("legend", "fedlora", "fedlora-straggler", "hetlora", "flora")


@pytest.mark.parametrize("policy", POLICIES)
def test_policies_keep_it_too(policy: str) -> None:
    fleet = roomy()
    kept = 0
    for wait_s, factor in ((1.0, 8), (3.0, 2), (6.0, 1.2)):
        asked: dict[str, Any] = {"ranks": (1, 2, 4), "policy": policy, "mean_wait_s": wait_s}
        try:
            plan = solve(Problem.of(fleet, fill_wait=factor, **asked))
        except (Infeasible, Stopped):
            continue
        assert check(plan, fleet).ok, check(plan, fleet).failed
        if plan.question.budgets.mean_wait_s is not None:
            kept += 1
            assert plan.predicted.mean_wait_s <= wait_s * (1 + SLACK)
    assert kept > 0


def left(fleet: Fleet, asked: dict[str, Any]) -> float:
    """What is left of the wait of the plan that is best without a budget on it."""
    return solve(Problem.of(fleet, fill_wait=8, **asked)).predicted.mean_wait_s


def test_the_checker_counts_the_wait_that_is_left() -> None:
    fleet = roomy()
    asked: dict[str, Any] = {"ranks": (1, 2, 4)}
    plain, left_s = solve(Problem.of(fleet, **asked)), left(fleet, asked)
    plan = solve(Problem.of(fleet, mean_wait_s=left_s, fill_wait=8, **asked))
    assert plan.certificate.value == plain.certificate.value
    assert plan.certificate.status == "optimal"
    assert plain.predicted.mean_wait_s > left_s

    def failed(forged: Plan) -> set[str]:
        return {c.name for c in check(forged, fleet).failed}

    own = {d.name: d.local_steps for d in fleet.devices}
    idle = [replace(d, local_steps=own[d.name]) for d in plan.devices]
    assert "budgets.mean_wait_s" in failed(replace(plan, devices=idle))


def test_a_price_of_the_wait_is_of_the_wait_that_is_left() -> None:
    fleet = roomy()
    asked: dict[str, Any] = {"ranks": (1, 2, 4)}
    asked["mean_wait_s"] = left(fleet, asked)
    (filled,) = prices(Problem.of(fleet, fill_wait=8, **asked))
    (waiting,) = prices(Problem.of(fleet, **asked))
    assert filled.budget == waiting.budget == "second of mean wait"
    assert filled.utility == 0 < waiting.utility


def test_where_none_is_found_a_wait_that_can_be_kept_is_named() -> None:
    fleet = roomy()
    asked: dict[str, Any] = {"ranks": (4,), "min_depth": 3, "fill_wait": 1.5}
    with pytest.raises(Stopped, match="once waits are filled") as stopped:
        solve(Problem.of(fleet, mean_wait_s=0.001, **asked))
    wait_s = float(str(stopped.value).split("a mean wait of ")[1].split(" s ")[0])
    assert check(solve(Problem.of(fleet, mean_wait_s=wait_s, **asked)), fleet).ok
