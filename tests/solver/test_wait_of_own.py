"""A mean wait where ranks are devices' own or capped: against all plans, at its extremes."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from solver.allocation import mean_wait_s
from solver.errors import Infeasible
from solver.exact import maximise_utility, utility_bound
from solver.least import least_round_time_s
from solver.outcome import Outcome, relative_gap
from solver.plan import Structure
from solver.problem import Problem
from solver.wait.knapsack import Choices
from tests.solver.instances import random_fleet
from tests.solver.mixed import values
from tests.solver.questions import random_case

STRUCTURES: tuple[Structure, ...] = ("own", "capped")


def case(seed: int, structure: Structure) -> tuple[Problem, float | None]:
    """Up to three devices with a mean wait, and the utility of the best plan."""
    rng = np.random.default_rng(seed)
    noise = 0.3 * float(rng.random() < 0.3)
    fleet, options = random_case(seed, devices=3, slope_noise=noise)
    options.pop("rank_budget", None)
    epsilon_s = float(rng.uniform(0, 0.4)) * (options["round_time_s"] or 5.0)
    problem = Problem.of(fleet, structure=structure, mean_wait_s=epsilon_s, **options)
    return problem, max(values(fleet, problem.question), default=None)


def answer(problem: Problem) -> Outcome | Infeasible:
    try:
        return maximise_utility(problem)
    except Infeasible as error:
        return error


@pytest.mark.parametrize("structure", STRUCTURES)
def test_answers_are_sound_and_mostly_the_best(structure: Structure) -> None:
    best_ones, plans, unproven = 0, 0, 0
    for seed in range(30_000, 30_080):
        problem, best = case(seed, structure)
        found = answer(problem)
        if isinstance(found, Infeasible):
            assert not found.proven or best is None, seed
            unproven += not found.proven
            continue
        assert best is not None, seed
        assert found.bound is not None
        assert found.value <= best * (1 + 1e-9) + 1e-12, seed
        assert found.bound >= best * (1 - 1e-9), seed
        plans += 1
        best_ones += found.value >= best * (1 - 1e-9)
    assert best_ones >= 0.9 * plans > 0
    assert unproven <= 3


def fleet_of(devices: int, structure: Structure) -> Problem:
    """Many unlike devices, 5 layers and 4 ranks, at half as long again as the least round."""
    fleet = random_fleet(11, layers=5, classes=3, devices=devices, max_rank=4)
    problem = Problem.of(fleet, ranks=range(1, 5), structure=structure, min_depth=0)
    least_s = least_round_time_s(problem)
    assert least_s is not None
    return problem.under(round_time_s=1.5 * least_s)


def within(problem: Problem, epsilon_s: float) -> Outcome:
    return maximise_utility(problem.under(mean_wait_s=epsilon_s))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_more_of_the_wait_never_hurts_and_the_gap_is_small(structure: Structure) -> None:
    problem = fleet_of(60, structure)
    free_s = mean_wait_s(problem, maximise_utility(problem).allocation)
    found = []
    for share in (0.7, 0.85, 1.0):
        outcome = within(problem, share * free_s)
        assert mean_wait_s(problem, outcome.allocation) <= share * free_s * (1 + 1e-9)
        assert outcome.bound is not None
        gap = relative_gap(outcome.value, outcome.bound, "utility")
        assert gap <= (1e-3 if structure == "own" else 2e-2)
        found.append(outcome.value)
    assert found == sorted(found)


def test_more_freedom_in_the_ranks_never_hurts() -> None:
    shared = fleet_of(20, "shared")
    epsilon_s = 0.8 * mean_wait_s(shared, maximise_utility(shared).allocation)
    free = [fleet_of(20, each) for each in ("shared", "capped", "own")]
    found = [within(problem, epsilon_s).value for problem in free]
    assert found == sorted(found)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_repair_that_is_named_makes_a_plan_possible(structure: Structure) -> None:
    from solver.explain.repair import explained

    problem = fleet_of(20, structure)
    with pytest.raises(Infeasible) as raised:
        within(problem, 0.0)
    assert raised.value.proven
    said = explained(problem.under(mean_wait_s=0.0), raised.value).repair
    epsilon_s = float(said.split("a mean wait of ")[1].split(" s")[0])
    assert within(problem, epsilon_s).value > 0
    with pytest.raises(Infeasible):
        within(problem, 0.5 * epsilon_s)


def test_devices_alike_wait_for_nobody() -> None:
    fleet = random_fleet(5, layers=4, classes=1, devices=1, max_rank=4)
    one = fleet.devices[0]
    alike = replace(fleet, devices=[replace(one, name=f"d{i}") for i in range(6)])
    options: dict[str, Any] = {"ranks": range(1, 5), "structure": "own", "round_time_s": 6.0}
    free = maximise_utility(Problem.of(alike, **options))
    held = maximise_utility(Problem.of(alike, mean_wait_s=0.0, **options))
    assert held.value == free.value == held.bound


def test_the_bound_on_everybody_holds_for_plans_that_leave_devices_out() -> None:
    """A peer may leave out whom it likes: its gap is to a bound that no such plan passes."""
    reached = 0
    for seed in range(40):
        fleet, options = random_case(seed, devices=3)
        options |= {"min_depth": 0, "rank_budget": None, "structure": "own"}
        options["mean_wait_s"] = 0.05 * (options["round_time_s"] or 5.0)
        problem, best = Problem.of(fleet, **options), 0.0
        weight = dict(zip(problem.costs.devices.names, problem.weights.tolist(), strict=True))
        for number in range(1, len(fleet.devices) + 1):
            for some in combinations(fleet.devices, number):
                few = replace(fleet, devices=list(some))
                share = sum(weight[device.name] for device in some)
                found = values(few, Problem.of(few, **options).question)
                best = max(best, share * max(found, default=0.0))
        bound = utility_bound(problem)
        assert bound >= best * (1 - 1e-9), seed
        reached += bound <= best * (1 + 1e-4)
    assert reached >= 20


def test_devices_go_back_to_what_gains_more_as_far_as_there_is_time() -> None:
    """Each of three takes 5 s less if it does; 6 s are to spare, so the best of them may."""
    choices = Choices(
        gain=np.array([[0.0, 0.0, 0.0], [0.8, 1.0, 0.9]]),
        own_s=np.array([[10.0, 10.0, 10.0], [5.0, 5.0, 5.0]]),
        needed_s=24.0,
    )
    keeps, waits = choices.longest(), choices.at(0.0)
    assert (keeps.spare_s, waits.spare_s) == (6.0, -9.0)
    assert choices.fill(waits, keeps).tolist() == [0, 1, 0]
