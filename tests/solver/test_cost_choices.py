"""Prefix caches, compressed uploads and a greatest depth: against exhaustive search."""

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from profiler.schema import Fleet
from solver.problem import Problem
from tests.solver.exhaustive import best_own, best_shared
from tests.solver.questions import more_options, random_case, with_drop
from tests.solver.test_exact import answer, assert_brackets


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
