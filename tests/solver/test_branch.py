"""Costs out of proportion to the layers' sizes: branch and bound against every rank vector."""

from itertools import product

import numpy as np
import pytest

from solver.allocation import shared, utility
from solver.costs.capacity import capacity
from solver.errors import Infeasible
from solver.exact import maximise_utility
from solver.problem import Problem
from solver.slopes.branch import GAP, Box, _bound, box_capacity
from solver.slopes.levels import levels
from solver.slopes.local_search import improve
from tests.solver.exhaustive import best_shared
from tests.solver.instances import random_fleet


def noisy(seed: int, *, noise: float = 0.6, **budgets: float | int) -> Problem:
    fleet = random_fleet(seed, layers=3, classes=3, devices=7, max_rank=5, slope_noise=noise)
    options = {"ranks": range(1, 6), "min_depth": 0, "round_time_s": 16.0, **budgets}
    return Problem.of(fleet, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(30))
def test_value_and_bound_enclose_the_best_of_all_rank_vectors(seed: int) -> None:
    problem = noisy(seed, rank_budget=9 if seed % 3 else 99, min_depth=seed % 2)
    best = best_shared(problem.fleet, problem.question).value
    if best is None:
        with pytest.raises(Infeasible):
            maximise_utility(problem)
        return
    outcome = maximise_utility(problem)
    assert outcome.bound is not None
    assert outcome.value <= best * (1 + 1e-9)
    assert outcome.bound >= best * (1 - 1e-9)
    assert outcome.bound <= outcome.value * (1 + GAP) * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_the_bound_of_a_point_is_the_utility_of_its_ranks(seed: int) -> None:
    problem = noisy(seed)
    index = np.random.default_rng(seed).integers(0, 5, 3)
    found = _bound(problem, Box(low=index, high=index))
    assert found is not None
    if (found.ranks > 0).all():
        expected = utility(problem, shared(problem, problem.ranks[index]))
        assert found.value == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(8))
def test_a_smaller_box_never_has_a_larger_capacity(seed: int) -> None:
    problem = noisy(seed)
    rng = np.random.default_rng(seed)
    low, high = np.sort(rng.integers(0, 5, (2, 3)), axis=0)
    whole = box_capacity(problem, Box(low=np.zeros(3, np.int64), high=np.full(3, 4)))
    part = box_capacity(problem, Box(low=low, high=high))
    assert (part.reach <= whole.reach + 1e-12).all()


@pytest.mark.parametrize("seed", range(10))
def test_local_search_keeps_the_limits_and_never_loses(seed: int) -> None:
    problem = noisy(seed, rank_budget=10)
    start = np.array([1, 1, 1])
    found = improve(problem, start)
    assert utility(problem, shared(problem, found)) >= utility(problem, shared(problem, start))
    assert found.sum() <= 10
    assert set(found) <= set(range(1, 6))


@pytest.mark.parametrize("seed", range(20))
def test_the_best_plan_through_a_rank_is_the_best_of_those_that_take_it(seed: int) -> None:
    problem = noisy(seed, noise=0.0, min_depth=seed % 2)
    top = problem.question.rank_choices[-1]
    table = capacity(problem.costs, problem.weights, top, optimistic=True)
    rng = np.random.default_rng(seed)
    low, high = np.sort(rng.integers(0, 5, (2, 3)), axis=0)
    found = levels(
        table, problem.gains, problem.ranks, low, high, min_depth=problem.question.min_depth
    )
    best: dict[tuple[int, int], float] = {}
    for depth in range(problem.question.min_depth, 4):
        for index in product(*(range(a, b + 1) for a, b in zip(low, high, strict=True))):
            ranks = np.where(np.arange(3) < depth, problem.ranks[list(index)], 0)
            prefix = np.cumsum(ranks * table.steps)
            reached = [table.reach[k, prefix[k - 1]] for k in range(1, depth + 1)]
            short = any(prefix[k - 1] > table.least[k] for k in range(1, seed % 2 + 1))
            if short or not all(reached):
                continue
            value = sum(w * problem.gains[j, index[j]] for j, w in enumerate(reached))
            for level in [*enumerate(index[:depth]), (-1, 0)]:
                best[level] = max(best.get(level, -np.inf), float(value))
    assert found.value == pytest.approx(best.pop((-1, 0), -np.inf))
    for j, r in product(range(3), range(5)):
        assert found.through[j, r] == pytest.approx(best.get((j, r), -np.inf))


def test_branching_closes_a_wide_gap_and_repeats_itself() -> None:
    fleet = random_fleet(1, layers=6, classes=5, devices=80, max_rank=16, slope_noise=0.2)
    problem = Problem.of(fleet, ranks=range(1, 17), round_time_s=30.0, min_depth=0)
    plain = maximise_utility(problem, branching=False)
    assert plain.bound is not None
    assert plain.value < 0.98 * plain.bound
    first, second = maximise_utility(problem), maximise_utility(problem)
    assert first.allocation.rows.tolist() == second.allocation.rows.tolist()
    assert first.bound == second.bound
    assert first.certificate("utility").status == "optimal"
    assert first.value >= plain.value
