"""What must hold of every plan, whatever the fleet."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from profiler.schema import Fleet
from solver.errors import Infeasible
from solver.exact import utility_bound
from solver.planner import solve
from solver.problem import Problem
from tests.solver.drawn import Case, best, cases, most, relaxed, value
from tests.solver.instances import random_fleet

BUDGETS = (
    "round_time_s",
    "mean_wait_s",
    "upload_bytes",
    "download_bytes",
    "energy_j",
    "rank_budget",
)


@relaxed
@given(cases(noise=0.0), st.sampled_from(BUDGETS), st.floats(1, 3))
def test_loosening_a_budget_never_hurts(case: Case, name: str, factor: float) -> None:
    fleet, options = case
    if options.get(name) is None or name == "mean_wait_s":
        return
    loose = options[name] * factor
    loosened = {**options, name: int(loose) + 1 if name == "rank_budget" else loose}
    assert most(fleet, loosened) >= value(fleet, options)


@relaxed
@given(cases(noise=0.0))
def test_a_smaller_least_depth_or_more_ranks_never_hurt(case: Case) -> None:
    fleet, options = case
    shallow = {**options, "min_depth": 0}
    fewer = {**options, "ranks": list(options["ranks"])[:-1]}
    assert most(fleet, shallow) >= value(fleet, options)
    assert most(fleet, options) >= value(fleet, fewer)


@relaxed
@given(cases(), st.sampled_from(["shared", "own"]))
def test_own_bounds_shared_and_no_bound_is_below_a_value(case: Case, structure: str) -> None:
    fleet, options = case
    options = {**options, "rank_budget": None, "structure": structure}
    found, freer = best(fleet, options), best(fleet, {**options, "structure": "own"})
    if found is None or found.bound is None:
        return
    assert found.bound >= found.value
    assert freer is not None
    assert freer.bound is not None
    assert freer.bound >= found.value * (1 - 1e-12)
    assert utility_bound(Problem.of(fleet, **options)) >= found.value * (1 - 1e-12)


@relaxed
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_devices_changes_nothing(case: Case, random: Any) -> None:
    fleet, options = case
    shuffled = list(fleet.devices)
    random.shuffle(shuffled)
    one, other = best(fleet, options), best(replace(fleet, devices=shuffled), options)
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert other.value == pytest.approx(one.value, rel=1e-12)
        assert other.bound == pytest.approx(one.bound, rel=1e-12)


def split(fleet: Fleet) -> Fleet:
    """Every device of count c as c devices."""
    return replace(
        fleet,
        devices=[
            replace(d, name=f"{d.name}.{n}", count=1)
            for d in fleet.devices
            for n in range(d.count)
        ],
    )


def in_other_units(fleet: Fleet) -> Fleet:
    """Seconds counted in thousandths."""

    def slower(name: str) -> Callable[[Any], Any]:
        return lambda value: (
            [1000 * v for v in value] if isinstance(value, list) else 1000 * value
        )

    classes = []
    for owner in fleet.classes:
        scaled = {
            field: slower(field)(getattr(owner.time, field))
            for field in owner.time.__struct_fields__
            if field != "error_fraction"
        }
        classes.append(
            replace(
                owner,
                time=replace(owner.time, **scaled),
                device=replace(owner.device, power_w=owner.device.power_w / 1000),
            )
        )
    devices = [
        replace(
            d,
            uplink_bytes_per_s=d.uplink_bytes_per_s / 1000,
            downlink_bytes_per_s=d.downlink_bytes_per_s / 1000,
            latency_s=d.latency_s * 1000,
        )
        for d in fleet.devices
    ]
    return replace(fleet, classes=classes, devices=devices)


@settings(relaxed, max_examples=20)
@given(cases(wait=True))
def test_devices_alike_count_as_one(case: Case) -> None:
    fleet, options = case
    one, other = best(fleet, options), best(split(fleet), options)
    assert (one is None) == (other is None)
    if one is not None and other is not None and one.value == one.bound:
        assert other.value == pytest.approx(one.value, rel=1e-9)


@relaxed
@given(cases())
def test_the_unit_of_time_changes_nothing(case: Case) -> None:
    fleet, options = case
    scaled = {**options}
    if scaled["round_time_s"] is not None:
        scaled["round_time_s"] *= 1000
    one, other = best(fleet, options), best(in_other_units(fleet), scaled)
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert other.value == pytest.approx(one.value, rel=1e-12)
        assert other.bound == pytest.approx(one.bound, rel=1e-12)


@pytest.mark.parametrize("policy", ["exact", "legend", "fedlora-exclusive", "hetlora"])
@pytest.mark.parametrize("wait", [None, 2.0])
def test_the_same_question_gives_the_same_bytes(policy: str, wait: float | None) -> None:
    fleet = random_fleet(2, layers=5, devices=9, max_rank=6, slope_noise=0.2)
    options: dict[str, Any] = {"policy": policy, "min_depth": 0, "round_time_s": 12.0}
    try:
        plans = [
            msgspec.json.encode(
                solve(Problem.of(fleet, ranks=range(1, 7), mean_wait_s=wait, **options))
            )
            for _ in range(2)
        ]
    except Infeasible:
        assert policy == "hetlora"
        return
    assert plans[0] == plans[1]
