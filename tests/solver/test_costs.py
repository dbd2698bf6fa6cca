"""Memory phases that are never the peak are no limits; leaving them out changes nothing."""

from typing import Any

from msgspec.structs import replace

from profiler.schema import DepthCost, DeviceClass, Fleet
from solver.exact import maximise_utility
from solver.problem import Problem
from tests.solver.instances import random_fleet


def with_optimizer(fleet: Fleet, by_depth: list[float], per_rank: list[float]) -> Fleet:
    def changed(device_class: DeviceClass) -> DeviceClass:
        cost = DepthCost(by_depth=by_depth, per_rank=per_rank)
        return replace(device_class, memory=replace(device_class.memory, optimizer_bytes=cost))

    return replace(fleet, classes=[changed(c) for c in fleet.classes])


def plan(fleet: Fleet) -> tuple[int, Any]:
    problem = Problem.of(fleet, ranks=range(1, 5), round_time_s=25.0)
    memory = sum(q.name == "memory" for q in problem.costs.resources)
    return memory, maximise_utility(problem)


def test_a_covered_phase_with_odd_slopes_leaves_the_problem_exact() -> None:
    fleet = with_optimizer(random_fleet(3), [0.0, 5.0, 4.0, 3.0], [9.0, 1.0, 7.0])
    phases, outcome = plan(fleet)
    assert phases == 1
    assert outcome.method == "dynamic program"
    assert outcome.value == outcome.bound


def test_a_phase_that_high_ranks_make_the_peak_is_kept() -> None:
    slope = 2e5  # above the backward's 1e5 a rank
    fleet = with_optimizer(random_fleet(3), [0.0, 5.0, 6.0, 7.0], [slope] * 3)
    phases, _ = plan(fleet)
    assert phases == 2


def test_a_kept_phase_limits_the_plan() -> None:
    small = random_fleet(3)
    tight = with_optimizer(small, [0.0, 4e6, 4e7, 4e8], [0.0] * 3)
    assert plan(tight)[1].value < plan(small)[1].value
