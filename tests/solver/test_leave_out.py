"""Devices that cannot take part are left out when asked to be, and only then."""

import pytest
from msgspec.structs import replace

from profiler.schema import Fleet, InputError
from solver.check import check
from solver.errors import Infeasible
from solver.planner import solve
from solver.problem import Problem
from tests.solver.instances import random_fleet


@pytest.fixture
def fleet() -> Fleet:
    whole = random_fleet(3, layers=3, devices=6, max_rank=4)
    small = replace(whole.devices[2], memory_bytes=1_000_000)
    return replace(whole, devices=[*whole.devices[:2], small, *whole.devices[3:]])


def test_without_being_asked_it_is_infeasible(fleet: Fleet) -> None:
    with pytest.raises(Infeasible, match="d2 needs"):
        solve(Problem.of(fleet, ranks=range(1, 5), round_time_s=30.0))


@pytest.mark.parametrize("structure", ["shared", "capped", "own"])
def test_just_the_unable_are_left_out(fleet: Fleet, structure: str) -> None:
    problem = Problem.of(
        fleet,
        ranks=range(1, 5),
        round_time_s=30.0,
        leave_out="unable",
        structure=structure,  # type: ignore[arg-type]
    )
    plan = solve(problem)
    assert [d.name for d in plan.devices if d.configuration is None] == ["d2"]
    assert check(plan, fleet).ok
    rest = replace(fleet, devices=[d for d in fleet.devices if d.name != "d2"])
    alone = solve(
        Problem.of(rest, ranks=range(1, 5), round_time_s=30.0, structure=structure)  # type: ignore[arg-type]
    )
    assert plan.ranks == alone.ranks
    assert plan.certificate.status == alone.certificate.status


def test_a_plan_that_leaves_out_unasked_fails_the_check(fleet: Fleet) -> None:
    problem = Problem.of(fleet, ranks=range(1, 5), round_time_s=30.0, leave_out="unable")
    plan = solve(problem)
    forged = replace(plan, question=replace(plan.question, leave_out="nobody"))
    failed = [c.name for c in check(forged, fleet).failed]
    assert failed == ["question.leave_out", "certificate.seal_sha256"]


def test_nobody_able_is_infeasible_and_other_policies_refuse(fleet: Fleet) -> None:
    with pytest.raises(Infeasible):
        solve(Problem.of(fleet, ranks=[1], round_time_s=1e-3, leave_out="unable"))
    with pytest.raises(InputError, match="leave_out is for policy exact"):
        solve(Problem.of(fleet, ranks=[1], policy="hetlora", leave_out="unable"))
