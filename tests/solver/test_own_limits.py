"""Limits of devices' own: kept by every method and policy, checked apart, and explained."""

import math
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from profiler.schema import LIMITS, Fleet, FleetDevice, InputError
from solver.check import check
from solver.errors import Infeasible, Stopped
from solver.limited_instances import with_limits
from solver.methods import plan_with
from solver.planner import solve
from solver.policies import POLICIES
from solver.problem import Problem
from tests.solver.instances import random_fleet
from tests.solver.mixed import mixed_case, values
from tests.solver.questions import random_case
from tests.solver.test_properties import in_other_units, split


def limited_case(seed: int) -> tuple[Fleet, dict[str, Any]]:
    """A question of any kind about a fleet most of which has limits of its own."""
    fleet, options = mixed_case(seed)
    if seed % 4 == 0:
        options["round_time_s"] = None
    fleet = with_limits(fleet, seed, 0.5)
    return (with_limits(fleet, seed + 1, 0.9) if seed % 2 else fleet), options


def set_device(fleet: Fleet, index: int, **fields: Any) -> Fleet:
    devices = list(fleet.devices)
    devices[index] = replace(devices[index], **fields)
    return replace(fleet, devices=devices)


def test_every_structure_method_and_objective_keeps_them() -> None:
    """Against exhaustive search: with waits, caches, links, codecs and shapes, or without."""
    found, own, structures = 0, 0, set()
    for seed in range(160):
        fleet, options = limited_case(seed)
        try:
            problem = Problem.of(fleet, **options)
            plan = solve(problem, using=plan_with)
        except InputError:
            continue
        except (Infeasible, Stopped) as error:
            if isinstance(error, Infeasible) and error.proven:
                assert not list(values(fleet, problem.question)), seed
            continue
        verdict = check(plan, fleet)
        assert verdict.ok, (seed, verdict.failed)
        best = max(values(fleet, problem.question))
        sign = -1 if problem.question.objective == "time" else 1
        slack, certificate = 1e-8 * max(1.0, abs(best)), plan.certificate
        assert certificate.bound is not None
        assert sign * certificate.value <= best + slack, seed
        assert sign * certificate.bound >= best - slack, seed
        if certificate.status == "optimal":
            assert sign * certificate.value >= best - slack, seed
        found += 1
        own += any(d.binding.startswith("own ") for d in plan.devices)
        structures.add((problem.question.structure, problem.costs.links is not None))
    assert found >= 50
    assert own >= 12
    assert len(structures) == 6


@pytest.mark.parametrize("method", ["milp", "dp", "lcd", "local-search", "anneal", "branch"])
def test_methods_by_name_keep_them(method: Any) -> None:
    made = 0
    for seed in range(6):
        fleet = random_fleet(seed, layers=3, devices=4, max_rank=3, limited=0.7)
        problem = Problem.of(fleet, ranks=[1, 2, 3], round_time_s=25.0)
        try:
            best = solve(problem)
            plan = solve(problem, using=lambda p: plan_with(p, method=method))
        except (Infeasible, InputError):
            continue
        made += 1
        assert check(plan, fleet).ok, (seed, check(plan, fleet).failed)
        assert plan.certificate.value <= best.certificate.value * (1 + 1e-9)
        if method == "milp":
            assert plan.certificate.value == pytest.approx(best.certificate.value, rel=1e-6)
    assert made >= 2


@pytest.mark.parametrize("policy", list(POLICIES))
def test_every_policy_keeps_them_or_says_why_not(policy: str) -> None:
    made = 0
    for seed in range(20):
        fleet = random_fleet(seed, layers=4, devices=3, max_rank=4, limited=0.25)
        fleet = replace(fleet, devices=[replace(d, memory_bytes=0) for d in fleet.devices])
        problem = Problem.of(fleet, policy=policy, ranks=range(1, 5), round_time_s=60.0)
        try:
            plan = solve(problem)
        except Infeasible:
            continue
        made += 1
        assert check(plan, fleet).ok, (seed, check(plan, fleet).failed)
    assert made >= 1


def test_the_smaller_limit_binds_and_a_devices_own_goes_before_its_class() -> None:
    fleet = random_fleet(3, layers=4, devices=4, max_rank=4)
    fleet = replace(fleet, devices=[replace(d, memory_bytes=0) for d in fleet.devices])
    question: dict[str, Any] = {"ranks": [1, 2, 3, 4], "round_time_s": 500.0}
    free = solve(Problem.of(fleet, **question))

    def sent(made: Fleet, **more: Any) -> list[float]:
        plan = solve(Problem.of(made, **question, **more))
        assert check(plan, made).ok
        return [d.predicted.upload_bytes for d in plan.devices if d.predicted]

    whole = [d.predicted.upload_bytes for d in free.devices if d.predicted]
    half, third = max(whole) / 2, max(whole) / 3
    own = fleet.devices[0].device_class
    classes = [
        replace(c, upload_limit_bytes=third) if c.name == own else c for c in fleet.classes
    ]
    limited = replace(fleet, classes=classes)
    mine = set_device(limited, 0, upload_limit_bytes=half)
    seen = sent(mine)
    assert third < seen[0] <= half
    for device, each in zip(fleet.devices[1:], seen[1:], strict=True):
        assert (each <= third) == (device.device_class == own)
    # The question's is the smaller one for all, or for none.
    assert max(sent(mine, upload_bytes=third)) <= third
    assert sent(mine, upload_bytes=2 * max(whole)) == seen
    # 0 is a limit of what is used up, and even a head is too much for it.
    with pytest.raises(Infeasible, match=r"d0 needs .* of own upload and has 0 bytes"):
        sent(set_device(fleet, 0, upload_limit_bytes=0.0))


@pytest.mark.parametrize("field", LIMITS)
def test_loosening_a_limit_never_hurts(field: str) -> None:
    bound = 0
    for seed in range(25):
        fleet = random_fleet(seed, layers=3, devices=4, max_rank=3, limited=1.0)
        question: dict[str, Any] = {"ranks": [1, 2, 3], "round_time_s": 30.0, "min_depth": 0}

        def value(made: Fleet, asked: dict[str, Any] = question) -> float:
            try:
                return solve(Problem.of(made, **asked)).certificate.value
            except Infeasible:
                return -math.inf

        def loosened(each: FleetDevice) -> FleetDevice:
            limit = getattr(each, field)
            return each if limit is UNSET else replace(each, **{field: 1.3 * limit})

        before = value(fleet)
        after = value(replace(fleet, devices=[loosened(d) for d in fleet.devices]))
        unlimited = {
            part: [replace(each, **{field: UNSET}) for each in getattr(fleet, part)]
            for part in ("devices", "classes")
        }
        none = value(replace(fleet, **unlimited))
        assert before <= after * (1 + 1e-12) or before == after
        assert max(before, after) <= none * (1 + 1e-12) or none == before
        bound += before < none
    assert bound >= 3


def test_order_counts_and_units_change_nothing() -> None:
    for seed in range(30):
        fleet, options = random_case(seed, limited=0.8)

        def answer(made: Fleet, asked: dict[str, Any]) -> float | None:
            try:
                return solve(Problem.of(made, **asked)).certificate.value
            except (Infeasible, Stopped):
                return None

        whole = answer(fleet, options)
        turned = replace(fleet, devices=fleet.devices[::-1], classes=fleet.classes[::-1])
        slow = in_other_units(fleet)
        for part in ("classes", "devices"):
            scaled = [
                each if each.time_limit_s is UNSET
                else replace(each, time_limit_s=1000 * each.time_limit_s)
                for each in getattr(slow, part)
            ]  # fmt: skip
            slow = replace(slow, **{part: scaled})
        slower = dict(options)
        if options["round_time_s"] is not None:
            slower["round_time_s"] = 1000 * options["round_time_s"]
        others = [answer(turned, options), answer(split(fleet), options), answer(slow, slower)]
        assert others == [None if whole is None else pytest.approx(whole, rel=1e-9)] * 3, seed


def test_devices_of_a_class_with_other_limits_are_not_alike() -> None:
    made = random_fleet(0, layers=3, classes=1, devices=1, max_rank=3)
    one = replace(made.devices[0], memory_bytes=0, count=1)
    twins = replace(made, devices=[one, replace(one, name="twin")])
    options: dict[str, Any] = {"ranks": [1, 2, 3], "structure": "own", "round_time_s": 900.0}
    plan = solve(Problem.of(twins, **options))
    assert plan.devices[0].configuration == plan.devices[1].configuration
    needed = plan.devices[1].predicted
    assert needed is not None
    tighter = set_device(twins, 1, upload_limit_bytes=0.6 * needed.upload_bytes)
    plan = solve(Problem.of(tighter, **options))
    assert plan.devices[0].configuration != plan.devices[1].configuration
    less = plan.devices[1].predicted
    assert less is not None
    assert less.upload_bytes <= 0.6 * needed.upload_bytes
