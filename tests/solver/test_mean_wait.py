"""The mean wait, proven: against exhaustive search, a general solver, and at its extremes."""

from typing import Any

import numpy as np
import pytest

from solver.allocation import mean_wait_s
from solver.errors import Infeasible
from solver.exact import maximise_utility
from solver.least import least_round_time_s
from solver.milp.solve import solve_milp
from solver.outcome import Outcome
from solver.problem import Problem
from tests.solver.exhaustive import best_shared
from tests.solver.instances import random_fleet
from tests.solver.questions import mean_wait, random_case

BATCHES = range(5)


def answer(problem: Problem) -> Outcome | None:
    try:
        return maximise_utility(problem)
    except Infeasible:
        return None


@pytest.mark.parametrize("batch", BATCHES)
def test_the_optimum_is_found_and_proven(batch: int) -> None:
    """Rank budgets, sizes that differ, least depth 0, waits of 0 and of ever."""
    for seed in range(20_000 + batch * 40, 20_040 + batch * 40):
        rng = np.random.default_rng(seed)
        fleet, options = random_case(seed, devices=5)
        if seed % 5 == 0:
            options["min_depth"] = 0
        usual = float(rng.uniform(0, 0.3)) * (options["round_time_s"] or 5.0)
        epsilon_s = {0: 0.0, 1: 1e9, 2: 1e-9}.get(seed % 9, usual)
        problem = Problem.of(fleet, mean_wait_s=epsilon_s, **options)
        best, found = best_shared(fleet, problem.question).value, answer(problem)
        assert (found is None) == (best is None), seed
        if found is not None and best is not None:
            assert found.value == pytest.approx(best, rel=1e-9), seed
            assert found.bound == pytest.approx(best, rel=1e-9), seed


def test_general_slopes_are_bracketed() -> None:
    for seed in range(21_000, 21_040):
        fleet, options = random_case(seed, slope_noise=0.3)
        problem = Problem.of(fleet, **options)
        problem = problem.under(mean_wait_s=mean_wait(problem, 0.1 + seed % 3 / 10))
        best, found = best_shared(fleet, problem.question).value, answer(problem)
        assert found is None or best is not None
        if found is not None and best is not None and found.bound is not None:
            assert found.value <= best * (1 + 1e-9) <= found.bound * (1 + 2e-9), seed


def medium(seed: int, *, share: float = 0.6, **options: Any) -> Problem:
    """8 devices of 3 classes, 5 layers, 4 ranks, at a share of the wait without a limit."""
    fleet = random_fleet(seed, layers=5, classes=3, devices=8, max_rank=4)
    problem = Problem.of(fleet, ranks=range(1, 5), min_depth=0, **options)
    least_s = least_round_time_s(problem)
    assert least_s is not None
    problem = problem.under(round_time_s=1.3 * least_s)
    free = maximise_utility(problem).allocation
    return problem.under(mean_wait_s=share * mean_wait_s(problem, free))


def test_a_general_solver_agrees() -> None:
    for seed in range(3):
        problem = medium(seed, rank_budget=14 if seed == 2 else None)
        found, other = maximise_utility(problem), solve_milp(problem, time_limit_s=60)
        assert found.value == found.bound
        assert found.value >= other.value * (1 - 1e-6)
        assert other.bound is not None
        assert found.value <= other.bound * (1 + 1e-6)


def test_the_budget_is_kept_and_more_of_it_never_hurts() -> None:
    values = []
    for share in (0.6, 0.7, 0.9, 1.0, 2.0):
        problem = medium(7, share=share)
        outcome = maximise_utility(problem)
        epsilon_s = problem.question.budgets.mean_wait_s
        assert epsilon_s is not None
        assert mean_wait_s(problem, outcome.allocation) <= epsilon_s * (1 + 1e-9)
        values.append(outcome.value)
    assert values == sorted(values)
    assert values[-1] == maximise_utility(medium(7).under(mean_wait_s=None)).value


def test_devices_alike_wait_for_nobody() -> None:
    from msgspec.structs import replace

    fleet = random_fleet(5, layers=4, classes=1, devices=1, max_rank=4)
    one = fleet.devices[0]
    alike = replace(fleet, devices=[replace(one, name=f"d{i}") for i in range(6)])
    free = maximise_utility(Problem.of(alike, ranks=range(1, 5), round_time_s=6.0))
    held = maximise_utility(
        Problem.of(alike, ranks=range(1, 5), round_time_s=6.0, mean_wait_s=0.0)
    )
    assert held.value == free.value == held.bound


def test_too_many_labels_leave_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    from solver.wait import labels as wait_labels
    from solver.wait import search as wait_search

    problem = medium(3)
    best = maximise_utility(problem).value
    monkeypatch.setattr(wait_labels, "MOST_LABELS", 2)
    monkeypatch.setattr(wait_search, "MOST", 3)
    monkeypatch.setattr(wait_search, "FEWEST", 3)
    found = maximise_utility(problem)
    assert found.bound is not None
    assert found.value <= best * (1 + 1e-12)
    assert found.bound >= best * (1 - 1e-12)
