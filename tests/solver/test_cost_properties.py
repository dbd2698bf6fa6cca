"""What must hold of caches, codecs, depth limits and rank shapes, whatever the fleet."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from profiler.schema import Fleet
from solver.check import check
from solver.costs.caching import ALWAYS, ROUND, choose
from solver.costs.devices import Devices
from solver.errors import Infeasible
from solver.exact import maximise_utility
from solver.planner import solve
from solver.policies import POLICIES
from solver.problem import Problem
from tests.solver.drawn import Case, cases, most, relaxed, value
from tests.solver.instances import random_fleet

CACHES = ("off", "round", "always", "auto")
CODECS = ("none", "float16", "int8")
fewer = settings(relaxed, max_examples=25)
caches, codecs = st.sampled_from(CACHES), st.sampled_from(CODECS)


def with_storage(fleet: Fleet, factor: float, more: int = 0) -> Fleet:
    devices = [
        replace(d, storage_bytes=int(d.storage_bytes * factor) + more) for d in fleet.devices
    ]
    return replace(fleet, devices=devices)


@relaxed
@given(cases(noise=0.0), caches, codecs, st.floats(1, 4), st.integers(0, 40_000))
def test_more_storage_never_hurts(
    case: Case, cache: str, codec: str, factor: float, more: int
) -> None:
    fleet, options = case
    asked = {**options, "cache": cache, "upload_codec": codec}
    assert most(with_storage(fleet, factor, more), asked) >= value(fleet, asked)


@relaxed
@given(cases(noise=0.0), caches)
def test_a_cache_never_hurts_and_auto_is_the_best(case: Case, cache: str) -> None:
    fleet, options = case
    none, asked = value(fleet, {**options, "cache": "off"}), {**options, "cache": cache}
    assert most(fleet, asked) >= none
    assert most(fleet, {**options, "cache": "auto"}) >= value(fleet, asked)


@relaxed
@given(cases(), caches)
def test_a_cache_slows_no_device_at_any_depth(case: Case, cache: Any) -> None:
    fleet, options = case
    cold = Problem.of(fleet, **options).costs.seconds
    costs = Problem.of(fleet, **{**options, "cache": cache}).costs
    c = costs.devices.class_index
    for k in range(fleet.model.layers + 1):
        assert (costs.seconds.fixed(c, k) <= cold.fixed(c, k)).all()
    assert (costs.seconds.fixed(c, 0) == cold.fixed(c, 0)).all()


@relaxed
@given(cases(noise=0.0), caches, st.sampled_from(["upload_codec", "download_codec"]))
def test_float16_never_hurts(case: Case, cache: str, way: str) -> None:
    """Nor does int8, where a rank has more than 8 bytes of scales' worth of parameters."""
    fleet, options = case
    asked = {**options, "cache": cache}
    plain = value(fleet, asked)
    half = {**asked, way: "float16"}
    assert most(fleet, half) >= plain
    assert most(fleet, {**asked, way: "int8"}) >= value(fleet, half)


@fewer
@given(cases(noise=0.0), caches, codecs)
def test_shapes_nest_and_depth_limits_only_cost(case: Case, cache: str, codec: str) -> None:
    fleet, options = case
    asked = {**options, "cache": cache, "upload_codec": codec}
    free = value(fleet, asked)
    rising = value(fleet, {**asked, "rank_shape": "rising"})
    even = value(fleet, {**asked, "rank_shape": "progression"})
    slack = 1e-12 * abs(free) if free > 0 else 0.0
    assert even <= rising + slack
    assert rising <= free + slack
    for deepest in range(max(options["min_depth"], 1), fleet.model.layers + 1):
        limited = value(fleet, {**asked, "max_depth": deepest})
        assert limited <= free + slack
    assert limited == free


def test_auto_takes_the_fastest_and_at_a_tie_the_smaller() -> None:
    fleet = random_fleet(0, devices=1)
    one = fleet.training.sequence_length * fleet.model.hidden_size * 4
    (device,) = fleet.devices

    def kind(**changes: Any) -> int:
        changed = replace(fleet, devices=[replace(device, **changes)])
        found = choose(changed, Devices.of(changed), "auto")
        assert found is not None
        return int(found.kind[0])

    # 3 steps of 4 examples.
    many = {"examples": 9, "local_steps": 3}
    assert kind(**many, storage_bytes=9 * one) == ALWAYS
    assert kind(**many, storage_bytes=9 * one - 1) == 0
    assert kind(examples=12, local_steps=3, storage_bytes=12 * one) == ALWAYS
    # Every example is met once: a cache for a round spares nothing.
    assert kind(examples=20, local_steps=3, storage_bytes=20 * one - 1) == 0
    few = replace(fleet, devices=[replace(device, **many, storage_bytes=9 * one)])
    again = choose(few, Devices.of(few), "round")
    assert again is not None
    assert again.kind[0] == ROUND
    assert again.spared[0] == pytest.approx(1 - 9 / 12)


def test_a_cache_for_the_run_must_pay_off_within_it() -> None:
    fleet = random_fleet(0, devices=1)
    (device,) = fleet.devices
    # 40 examples, of which a round meets 12, all different: filling takes 10 steps of 4.
    device = replace(device, examples=40, local_steps=3, storage_bytes=10**9)
    few = replace(fleet, devices=[device])
    kinds = {n: choose(few, Devices.of(few), "auto", n) for n in (1, 3, 4, None)}
    assert [int(c.kind[0]) for c in kinds.values() if c is not None] == [0, 0, ALWAYS, ALWAYS]
    for rounds in (1, 4):
        problem = Problem.of(few, ranks=(1, 2), cache="auto", cache_rounds=rounds)
        assert check(solve(problem), few).ok


@pytest.mark.parametrize("policy", list(POLICIES))
def test_the_checker_accepts_every_policy(policy: str) -> None:
    made = 0
    for seed in range(4):
        made_up = random_fleet(seed, layers=4, devices=5, max_rank=4)
        unlimited = [replace(d, memory_bytes=0) for d in made_up.devices]
        fleet = with_storage(replace(made_up, devices=unlimited), 1.0, 9_000)
        for cache, codec, shape in (
            ("auto", "int8", "free"),
            ("round", "float16", "rising"),
            ("always", "none", "progression"),
        ):
            problem = Problem.of(
                fleet,
                policy=policy,
                ranks=range(1, 5),
                min_depth=seed % 2,
                round_time_s=40.0,
                cache=cache,  # type: ignore[arg-type]
                upload_codec=codec,  # type: ignore[arg-type]
                rank_shape=shape,  # type: ignore[arg-type]
            )
            try:
                plan = solve(problem)
            except Infeasible:
                continue
            made += 1
            assert check(plan, fleet).ok, check(plan, fleet).failed
    assert made > 3


def test_a_least_round_time_is_the_least_with_a_cache_too() -> None:
    """Where one layer takes less time than none, the least time is that of one."""
    made = random_fleet(3, layers=3, devices=3)
    fleet = with_storage(made, 1.0, 1_000_000)
    asked: dict[str, Any] = {"ranks": [1, 2], "min_depth": 0, "cache": "always"}
    with pytest.raises(Infeasible) as error:
        maximise_utility(Problem.of(fleet, **asked, round_time_s=1e-3))
    least_s = error.value.least_round_time_s
    assert least_s is not None
    assert maximise_utility(Problem.of(fleet, **asked, round_time_s=least_s)).value > 0
    with pytest.raises(Infeasible):
        maximise_utility(Problem.of(fleet, **asked, round_time_s=least_s * (1 - 1e-6)))
