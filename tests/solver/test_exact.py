"""Every optimum against exhaustive search over all rank vectors and depths."""

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from profiler.schema import Fleet
from solver.allocation import mean_wait_s, shared, utility
from solver.errors import Infeasible, Stopped
from solver.exact import maximise_utility
from solver.problem import Problem
from solver.wait.limit import limit_wait
from tests.solver.answers import answer, assert_brackets
from tests.solver.exhaustive import best_depths, best_own, best_shared
from tests.solver.instances import random_fleet
from tests.solver.questions import random_case, with_drop

BATCHES = range(8)


@pytest.mark.parametrize("batch", BATCHES)
def test_shared_ranks_are_optimal(batch: int) -> None:
    for seed in range(batch * 40, batch * 40 + 40):
        fleet, options = random_case(seed)
        problem = Problem.of(fleet, **options)
        certificate = answer(fleet, problem)
        assert_brackets(certificate, best_shared(fleet, problem.question).value)
        assert certificate is None or certificate.status == "optimal", seed


@pytest.mark.parametrize("sizes", [(), (32, 64, 96), (96, 64, 32)])
def test_every_rank_budget_decides_where_nothing_else_binds(sizes: tuple[int, ...]) -> None:
    """The largest that can, too: one less than all layers at the highest rank."""
    fleet = random_fleet(2, layers=3, devices=3, max_rank=3, sizes=sizes)
    fleet = replace(fleet, devices=[replace(d, memory_bytes=0) for d in fleet.devices])
    for budget in range(1, 10):
        problem = Problem.of(fleet, ranks=[1, 2, 3], min_depth=0, rank_budget=budget)
        assert_brackets(answer(fleet, problem), best_shared(fleet, problem.question).value)


@pytest.mark.parametrize("batch", BATCHES)
def test_general_costs_are_bracketed(batch: int) -> None:
    """Slopes out of proportion and memory that falls again at full depth."""
    for seed in range(1000 + batch * 20, 1020 + batch * 20):
        fleet, options = random_case(seed, slope_noise=0.3)
        fleet = with_drop(fleet, 0.4) if seed % 2 else fleet
        problem = Problem.of(fleet, **options)
        assert_brackets(answer(fleet, problem), best_shared(fleet, problem.question).value)


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("drop", [0.0, 0.4])
def test_own_ranks_are_optimal(noise: float, drop: float) -> None:
    for seed in range(2000, 2030):
        fleet, options = random_case(seed, slope_noise=noise)
        options.pop("rank_budget", None)
        fleet = with_drop(fleet, drop)
        problem = Problem.of(fleet, structure="own", **options)
        certificate = answer(fleet, problem)
        assert_brackets(certificate, best_own(fleet, problem.question).value)
        exact = noise == drop == 0
        assert certificate is None or not exact or certificate.status == "optimal", seed


@pytest.mark.parametrize("batch", BATCHES)
def test_a_mean_wait_is_bracketed(batch: int) -> None:
    for seed in range(3000 + batch * 8, 3008 + batch * 8):
        rng = np.random.default_rng(seed)
        fleet, options = random_case(seed, slope_noise=0.2 * (seed % 2))
        fleet = with_drop(fleet, 0.4) if seed % 3 == 0 else fleet
        options["mean_wait_s"] = float(rng.uniform(0, 0.3)) * (options["round_time_s"] or 5.0)
        problem = Problem.of(fleet, **options)
        assert_brackets(answer(fleet, problem), best_shared(fleet, problem.question).value)


def test_depths_under_a_mean_wait_are_optimal_for_given_ranks() -> None:
    for seed in range(4000, 4150):
        rng = np.random.default_rng(seed)
        fleet, options = random_case(seed, slope_noise=0.2)
        fleet = with_drop(fleet, 0.5) if seed % 2 else fleet
        options.pop("rank_budget", None)
        if seed % 3 == 0:
            # With a cache one layer may take less time than none.
            options |= {"cache": "auto", "min_depth": 0}
        problem = Problem.of(fleet, mean_wait_s=float(rng.uniform(0, 2)), **options)
        ranks = rng.choice(list(options["ranks"]), problem.layers)
        deepest = shared(problem, ranks)
        if (deepest.depth < problem.question.min_depth).any():
            continue
        epsilon_s = problem.question.budgets.mean_wait_s
        assert epsilon_s is not None
        found = limit_wait(problem, deepest, epsilon_s)
        best = best_depths(fleet, problem.question, tuple(ranks.tolist())).value
        assert (found is None) == (best is None)
        if found is not None:
            assert mean_wait_s(problem, found) <= epsilon_s * (1 + 1e-9)
            assert utility(problem, found) == pytest.approx(best, rel=1e-12)


def with_floor(fleet: Fleet, options: dict[str, Any], share: float) -> dict[str, Any]:
    """Ask for a share of the largest utility, or of 1 where there is no plan."""
    try:
        most = maximise_utility(Problem.of(fleet, **options)).value
    except Infeasible:
        most = 1.0
    return {**options, "min_utility": share * most}


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_least_time_is_optimal(noise: float) -> None:
    for seed in range(5000, 5040):
        fleet, options = random_case(seed, slope_noise=noise)
        options = with_floor(fleet, options, 0.3 + seed % 7 / 10)
        problem = Problem.of(fleet, objective="time", **options)
        best = best_shared(fleet, problem.question).value
        try:
            certificate = answer(fleet, problem)
        except Stopped:
            assert noise > 0
            continue
        assert (certificate is None) == (best is None)
        if certificate is not None and best is not None and certificate.bound is not None:
            assert certificate.bound <= best * (1 + 1e-9) <= certificate.value * (1 + 2e-9)
            assert noise > 0 or certificate.status == "optimal"


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_efficiency_is_bracketed(noise: float) -> None:
    for seed in range(6000, 6025):
        fleet, options = random_case(seed, slope_noise=noise)
        options = with_floor(fleet, options, seed % 3 / 3)
        problem = Problem.of(fleet, objective="efficiency", **options)
        best = best_shared(fleet, problem.question).value
        certificate = answer(fleet, problem)
        assert_brackets(certificate, best)
        if noise == 0 and certificate is not None and best is not None:
            assert certificate.value >= best * (1 - 1e-4)


def test_efficiency_is_bracketed_where_a_round_may_take_no_time() -> None:
    """Where frozen layers cost nothing, and nobody need adapt any, rounds begin at 0 s."""
    from msgspec.structs import replace

    from tests.solver.instances import random_fleet

    fleet = random_fleet(3, devices=4, layers=3, max_rank=2)
    bare = {"embedding_s": 0.0, "forward_s": [0.0] * 3, "head_s": 0.0}
    fleet = replace(
        fleet,
        model=replace(fleet.model, head_parameters=0, head_modules=[]),
        classes=[replace(c, time=replace(c.time, **bare)) for c in fleet.classes],
        devices=[replace(d, latency_s=0.0) for d in fleet.devices],
    )
    problem = Problem.of(fleet, objective="efficiency", ranks=[1, 2], min_depth=0)
    certificate = answer(fleet, problem)
    best = best_shared(fleet, problem.question).value
    assert_brackets(certificate, best)
    assert certificate is not None
    assert best is not None
    assert certificate.value >= best * (1 - 1e-4)


@pytest.mark.parametrize("sizes", [(64, 64), (32, 96)])
@pytest.mark.parametrize("budget", [0, 1, 3, 6, 7, 10**12])
def test_any_rank_budget_is_kept(sizes: tuple[int, ...], budget: int) -> None:
    from tests.solver.instances import random_fleet

    fleet = random_fleet(7, layers=2, sizes=sizes, max_rank=3)
    problem = Problem.of(fleet, ranks=[1, 2, 3], min_depth=0, rank_budget=budget)
    assert_brackets(answer(fleet, problem), best_shared(fleet, problem.question).value)


@pytest.mark.parametrize("structure", ["shared", "own"])
@pytest.mark.parametrize("least", [0, 1])
def test_nothing_to_gain_is_a_plan_too(least: int, structure: Any) -> None:
    from msgspec.structs import replace

    from tests.solver.instances import random_fleet

    fleet = random_fleet(3, layers=2, max_rank=2)
    fleet = replace(fleet, gain=replace(fleet.gain, by_layer=[[0.0, 0.0]] * 2))
    certificate = answer(
        fleet, Problem.of(fleet, ranks=[1, 2], min_depth=least, structure=structure)
    )
    assert certificate is not None
    assert (certificate.value, certificate.bound, certificate.status) == (0.0, 0.0, "optimal")


def test_sizes_without_a_common_unit_are_bracketed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounded to a coarser unit, the tables stay valid bounds."""
    from solver.costs import capacity

    monkeypatch.setattr(capacity, "MOST_UNITS", 12)
    optimal = 0
    for seed in range(7000, 7060):
        fleet, options = random_case(seed)
        problem = Problem.of(fleet, **options)
        certificate = answer(fleet, problem)
        assert_brackets(certificate, best_shared(fleet, problem.question).value)
        optimal += certificate is not None and certificate.status == "optimal"
        options.pop("rank_budget", None)
        own = Problem.of(fleet, structure="own", **options)
        assert_brackets(answer(fleet, own), best_own(fleet, own.question).value)
    assert optimal > 20
