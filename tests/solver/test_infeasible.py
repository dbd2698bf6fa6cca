"""What the solver says where there is no plan: true, and enough to mend the question."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from profiler.schema import Fleet, write
from solver.check import check
from solver.errors import Infeasible, Stopped
from solver.explain.infeasible import too_low
from solver.planner import solve
from solver.policies import POLICIES
from solver.problem import Problem
from tests.solver.exhaustive import need
from tests.solver.instances import random_fleet
from tests.solver.questions import random_case, with_drop


def refusal(fleet: Fleet, **options: Any) -> Infeasible | None:
    """How the question is refused; None if there is a plan, which the checker passes."""
    try:
        plan = solve(Problem.of(fleet, **options))
    except Infeasible as error:
        return error
    assert check(plan, fleet).ok
    return None


def roomy(**shape: Any) -> Fleet:
    """A fleet whose memory forbids nothing."""
    fleet = random_fleet(2, **shape)
    return replace(fleet, devices=[replace(d, memory_bytes=0) for d in fleet.devices])


def said(pattern: str, error: Infeasible) -> float | None:
    found = re.search(pattern, str(error))
    return None if found is None else float(found[1])


LEAST_TIME = r"least feasible round time is ([-+.e\d]+) s"


def test_devices_alike_are_counted_and_what_helps_is_said_first() -> None:
    fleet = roomy(devices=6)
    small = [replace(d, memory_bytes=1000, count=7) for d in fleet.devices[:4]]
    rest = [replace(d, count=1) for d in fleet.devices[4:]]
    options = {"ranks": [1], "round_time_s": 0.01}
    error = refusal(replace(fleet, devices=[*small, *rest]), **options)
    text = str(error)
    # Three by name and seven alike, and two that have memory but no time.
    assert text.count(" of memory and has 1 kB; ") == 3
    assert (
        "; 9 more. No round time helps: raise the limit on memory or leave out 28 of 30" in text
    )
    assert "of round time and" not in text
    error = refusal(replace(fleet, devices=small), **options)
    assert str(error).endswith("raise the limit on memory.")
    error = refusal(replace(fleet, devices=small), **options, min_depth=2)
    assert str(error).endswith("raise the limit on memory, lower min_depth.")


@pytest.mark.parametrize("policy", [p for p in POLICIES if "straggler" not in p])
def test_the_least_round_time_is_feasible_as_printed_and_no_less(policy: str) -> None:
    told = 0
    for seed in range(40):
        fleet, options = random_case(seed, slope_noise=0.3 * (seed % 2))
        fleet = with_drop(fleet, 0.5) if seed % 3 == 0 else fleet
        options = {**options, "policy": policy, "round_time_s": 0.05, "rank_budget": None}
        error = refusal(fleet, **options)
        if error is None:
            continue
        seconds = said(LEAST_TIME, error)
        if seconds is None:
            assert error.least_round_time_s is None
            # Some other limit is in the way whatever the round time.
            assert refusal(fleet, **{**options, "round_time_s": None}) is not None
            continue
        told += 1
        assert error.least_round_time_s == pytest.approx(seconds, rel=1e-4)
        assert refusal(fleet, **{**options, "round_time_s": seconds}) is None
        assert refusal(fleet, **{**options, "round_time_s": 0.999 * seconds}) is not None
    assert told > 5


def test_names_needs_and_limits_are_right() -> None:
    shortfalls = 0
    for seed in range(100, 160):
        fleet, options = random_case(seed, slope_noise=0.3)
        options = {**options, "round_time_s": 1.5, "energy_j": 20.0, "min_depth": 1}
        if seed % 2:
            # Less than the weights: every phase of memory is over, and named once.
            fleet = replace(
                fleet, devices=[replace(d, memory_bytes=10**7) for d in fleet.devices]
            )
        error = refusal(fleet, **options)
        if error is None or not error.shortfalls:
            continue
        least = (1,) * fleet.model.layers
        expected: list[object] = []
        for device in fleet.devices:
            needs = need(fleet, device, least, 1)
            for name, value, limit in (
                ("round time", needs.time_s, 1.5),
                ("energy", needs.energy_j, 20.0),
                ("memory", needs.memory_bytes, device.memory_bytes or np.inf),
                ("upload", needs.sent_bytes, options.get("upload_bytes", np.inf)),
                ("download", needs.sent_bytes, options.get("download_bytes", np.inf)),
            ):
                if value > limit:
                    expected.append((device.name, name, pytest.approx(value), limit))
        found = {(s.device, s.constraint) for s in error.shortfalls}
        assert len(found) == len(error.shortfalls) == len(expected)
        for short in error.shortfalls:
            row = (short.device, short.constraint, short.need, short.limit)
            assert row in expected
        assert error.shortfalls[0].device in str(error)
        shortfalls += len(found)
    assert shortfalls > 50


@pytest.mark.parametrize("policy", ["exact", "legend"])
def test_the_least_rank_budget_is_feasible_and_no_less(policy: str) -> None:
    fleet = roomy(layers=4, max_rank=6)
    options: dict[str, Any] = {"policy": policy, "ranks": range(2, 7), "min_depth": 2}
    error = refusal(fleet, rank_budget=1, **options)
    assert error is not None
    least = said(r"least rank budget is (\d+)", error)
    assert least == 4
    assert refusal(fleet, rank_budget=4, **options) is None
    assert refusal(fleet, rank_budget=3, **options) is not None


WAITING = ["exact", "legend", "fedlora", "fedlora-exclusive", "hetlora"]


@pytest.mark.parametrize("policy", WAITING)
def test_a_mean_wait_that_is_named_is_feasible(policy: str) -> None:
    told = 0
    for seed in range(200, 212):
        fleet, options = random_case(seed)
        options = {**options, "policy": policy, "rank_budget": None, "min_depth": 0}
        error = refusal(fleet, mean_wait_s=1e-3, **options)
        named = r"mean wait of ([-+.e\d]+) s (?:is|instead)"
        seconds = None if error is None else said(named, error)
        if seconds is not None:
            told += 1
            assert refusal(fleet, mean_wait_s=seconds, **options) is None
    assert told > 1


@pytest.mark.parametrize("policy", ["exact", "legend"])
def test_what_else_must_change_is_said_along(policy: str) -> None:
    fleet = roomy(layers=4, max_rank=6)
    options: dict[str, Any] = {"policy": policy, "ranks": range(2, 7), "min_depth": 2}
    error = refusal(fleet, round_time_s=0.01, rank_budget=1, mean_wait_s=0.0, **options)
    assert error is not None
    assert error.least_round_time_s is None
    mended = {
        "round_time_s": said(LEAST_TIME, error),
        "rank_budget": int(said(r"rank budget of (\d+)", error) or 0),
        "mean_wait_s": said(r"mean wait of ([-+.e\d]+) s", error),
    }
    assert refusal(fleet, **mended, **options) is None


def test_only_a_deeper_device_may_fit() -> None:
    """Memory that falls at full depth leaves nothing at the least depth, and yet a plan."""
    fleet = with_drop(random_fleet(4, layers=3, classes=1, devices=2, max_rank=2), 0.9)
    memory = fleet.classes[0].memory
    base = memory.weights_bytes + memory.framework_bytes
    need_bytes = base + max(
        p.by_depth[3] + 2 * sum(p.per_rank)
        for p in (memory.forward_bytes, memory.backward_bytes, memory.optimizer_bytes)
    )
    fleet = replace(
        fleet,
        devices=[replace(d, memory_bytes=int(need_bytes) + 1) for d in fleet.devices],
    )
    assert memory.backward_bytes.by_depth[2] + base > need_bytes
    plan = solve(Problem.of(fleet, ranks=[1, 2], min_depth=2))
    assert check(plan, fleet).ok
    assert {c.depth for c in plan.configurations} == {3}
    waiting = solve(Problem.of(fleet, ranks=[1, 2], min_depth=2, mean_wait_s=100.0))
    assert check(waiting, fleet).ok


def test_a_utility_out_of_reach_is_answered_with_the_greatest() -> None:
    fleet = roomy(layers=3, max_rank=3)
    options: dict[str, Any] = {"objective": "time", "ranks": [1, 2, 3], "round_time_s": 12.0}
    error = refusal(fleet, min_utility=1e3, **options)
    assert error is not None
    greatest = said(r"greatest utility under these budgets is ([\d.]+\d)", error)
    assert greatest is not None
    assert refusal(fleet, min_utility=greatest, **options) is None
    assert refusal(fleet, min_utility=1.001 * greatest, **options) is not None


def test_needs_that_look_like_their_limit_get_more_digits() -> None:
    fleet = roomy(layers=1, classes=1, devices=1, max_rank=1)
    (device,) = fleet.devices
    seconds = need(fleet, device, (1,), 1).time_s
    error = refusal(fleet, ranks=[1], round_time_s=seconds * (1 - 1e-6))
    assert error is not None
    needed, limit = re.findall(
        r"needs ([\d.]+) s of round time and has ([\d.]*\d)", str(error)
    )[0]
    assert float(needed) > float(limit)


@pytest.mark.parametrize("wait", [0.0, 1e-12])
def test_one_device_waits_for_nobody(wait: float) -> None:
    fleet = random_fleet(2, layers=3, classes=1, devices=1, max_rank=3)
    assert refusal(fleet, ranks=[1, 2, 3], mean_wait_s=wait) is None
    alike = replace(
        fleet,
        devices=[replace(fleet.devices[0], name=f"d{i}", count=1 + i) for i in range(7)],
    )
    assert refusal(alike, ranks=[1, 2, 3], mean_wait_s=wait) is None


# What a mean wait that nobody keeps is answered with: the proof, or that there is none.
ANSWERS = [
    ("shared", "dp", None, 3),
    ("shared", "dp", 0, 4),
    ("shared", "lcd", None, 4),
    ("capped", "dp", None, 3),
    ("capped", "dp", 0, 4),
    ("own", "dp", None, 3),
    ("own", "dp", 0, 4),
]


@pytest.mark.parametrize(("structure", "method", "seconds", "expected"), ANSWERS)
def test_what_is_not_proven_is_not_called_infeasible(
    run: Any, tmp_path: Path, structure: str, method: str, seconds: int | None, expected: int
) -> None:
    path = tmp_path / "fleet.json"
    write(path, roomy(layers=3, devices=4, max_rank=3))
    asked = ("--ranks", "1-3", "--mean-wait", 1e-3)
    how: list[object] = ["--structure", structure, "--method", method, "--json"]
    how += [] if seconds is None else ["--time-limit", seconds]
    code, out, err = run("solve", path, *asked, *how)
    assert (code, out, err.count("\n")) == (expected, "", 1)
    known = "infeasible" if expected == 3 else "no plan found (not proven infeasible)"
    assert err.startswith(f"legend: {known}: no depths ")
    # Once, and no figure that is not the least known.
    assert err.count("mean wait of") == 1
    found = re.search(r"a mean wait of ([-+.e\d]+) s instead of 0.001 s", err)
    assert found is not None
    code, _, _ = run("solve", path, *asked[:2], "--mean-wait", found[1], *how[:2], "--json")
    assert code == 0


def test_a_floor_above_what_was_found_is_infeasible_only_below_a_bound() -> None:
    """With a bound of its own, or a solver's word, it is; without, nothing was proven."""
    for error in (too_low(2.0), too_low(2.0, found=1.0, bound=1.5)):
        assert isinstance(error, Infeasible)
        assert error.exit_code == 3
    for error in (too_low(2.0, found=1.0), too_low(2.0, found=1.0, bound=2.0)):
        assert isinstance(error, Stopped)
        assert error.exit_code == 4
