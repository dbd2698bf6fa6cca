"""Local steps in place of waiting: as many as there is time for, and nothing else changes."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from profiler.schema import InputError
from solver.check import check
from solver.errors import Infeasible, Stopped
from solver.plan import Plan, PlannedDevice
from solver.planner import solve
from solver.problem import Problem
from tests.solver.instances import random_fleet
from tests.solver.mixed import mixed_case

SAME = ("utility", "round_time_s", "upload_bytes", "download_bytes")


def a_step_more_fits(plan: Plan, device: PlannedDevice, own: int) -> bool:
    """Whether there was time for one more step."""
    assert device.predicted is not None
    if device.local_steps + 1 > plan.question.fill_wait * own:
        return False
    step_s = device.predicted.compute_s / device.local_steps
    time_s = device.predicted.time_s + step_s
    return time_s <= plan.predicted.round_time_s * (1 - 1e-9)


def pair(seed: int) -> tuple[Any, Plan, Plan] | None:
    """A plan that waits and one that fills its waits, of a question drawn by the seed."""
    fleet, options = mixed_case(seed)
    if options["cache"] in ("round", "auto"):
        options["cache"] = "always"
    factor = float(np.random.default_rng(seed).uniform(1.1, 6))
    try:
        waits = solve(Problem.of(fleet, **options))
        fills = solve(Problem.of(fleet, fill_wait=factor, **options))
    except (Infeasible, Stopped, InputError):
        return None
    return fleet, waits, fills


def test_fills_what_there_is_time_for_and_changes_nothing_else() -> None:
    more = 0
    for seed in range(80):
        found = pair(seed)
        if found is None:
            continue
        fleet, waits, fills = found
        verdict = check(fills, fleet)
        assert verdict.ok, (seed, verdict.failed)
        for name in SAME:
            assert math.isclose(
                getattr(waits.predicted, name), getattr(fills.predicted, name), rel_tol=1e-12
            ), (seed, name)
        assert fills.predicted.mean_wait_s <= waits.predicted.mean_wait_s + 1e-12
        assert fills.certificate.value == waits.certificate.value
        assert fills.configurations == waits.configurations
        own = {d.name: d.local_steps for d in fleet.devices}
        for before, after in zip(waits.devices, fills.devices, strict=True):
            assert after.binding == before.binding
            if after.predicted is None:
                assert after.local_steps == own[after.name]
                continue
            more += after.local_steps > own[after.name]
            if fills.question.budgets.energy_j is None:
                assert not a_step_more_fits(fills, after, own[after.name]), (seed, after.name)
    assert more > 10


def test_a_budget_on_energy_ends_the_steps() -> None:
    def most_j(plan: Plan) -> float:
        return max(d.predicted.energy_j for d in plan.devices if d.predicted)

    ended = 0
    for seed in range(20):
        fleet = random_fleet(seed, layers=3, devices=5, max_rank=4)
        asked: dict[str, Any] = {"ranks": (2,), "min_depth": 0}
        waits = solve(Problem.of(fleet, **asked))
        plain = solve(Problem.of(fleet, fill_wait=50, **asked))
        budget = (most_j(waits) + most_j(plain)) / 2
        fills = solve(Problem.of(fleet, fill_wait=50, energy_j=budget, **asked))
        assert check(fills, fleet).ok
        assert most_j(fills) <= budget * (1 + 1e-12)
        ended += most_j(plain) > budget * 1.01
    assert ended > 0


def test_every_policy_may_fill() -> None:
    fleet = random_fleet(5, layers=3, devices=5, max_rank=4)
    fleet = replace(fleet, devices=[replace(d, memory_bytes=0) for d in fleet.devices])
    for policy in ("legend", "fedlora-straggler", "hetlora", "flora", "fedra"):
        plan = solve(Problem.of(fleet, policy=policy, ranks=(1, 2, 4), fill_wait=8))
        assert check(plan, fleet).ok, policy
        assert any(
            d.local_steps > f.local_steps
            for d, f in zip(plan.devices, fleet.devices, strict=True)
        ), policy


def test_the_checker_knows_how_many_steps_are_allowed() -> None:
    fleet = random_fleet(2, layers=3, devices=5, max_rank=4)
    plan = solve(Problem.of(fleet, ranks=(2,), fill_wait=3))
    steps = {d.name: d.local_steps for d in fleet.devices}
    for count in (3 * max(steps.values()) + 1, min(steps.values()) - 1):
        wrong = [replace(plan.devices[0], local_steps=count), *plan.devices[1:]]
        failed = {c.name for c in check(replace(plan, devices=wrong), fleet).failed}
        assert {"devices.local_steps", "devices.predicted.compute_s"} <= failed
    waiting = replace(plan.question, fill_wait=1.0)
    failed = {c.name for c in check(replace(plan, question=waiting), fleet).failed}
    assert {"devices.local_steps", "certificate.seal_sha256"} <= failed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fill_wait": 0.5}, "fill_wait is 0.5; expected 1 to 1,000,000"),
        ({"fill_wait": math.nan}, "fill_wait is nan; expected 1 to"),
        ({"fill_wait": math.inf}, "fill_wait is inf; expected 1 to"),
        ({"fill_wait": 1e308}, "fill_wait is 1e.308; expected 1 to"),
        ({"fill_wait": 2, "cache": "auto"}, "fill_wait and cache auto do not go together"),
    ],
)
def test_what_cannot_be_filled_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        Problem.of(random_fleet(2), **options)


def test_the_command_says_how_many_steps(run: Any, fleet_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "plan.json"
    code, shown, _ = run("solve", fleet_path, "--fill-wait", 5, "-o", out)
    assert code == 0
    assert "waits filled to 5x steps" in shown
    assert " a round, " in shown
    assert run("verify", out, fleet_path)[0] == 0
    code, shown, _ = run("solve", fleet_path, "--like", out, "--json")
    assert json.loads(shown)["question"]["fill_wait"] == 5
    waits = json.loads(run("compare", fleet_path, "--policy", "legend", "--json")[1])
    fills = json.loads(
        run("compare", fleet_path, "--policy", "legend", "--fill-wait", 5, "--json")[1]
    )
    assert fills[0]["predicted"]["mean_wait_s"] < waits[0]["predicted"]["mean_wait_s"]
    code, _, err = run("solve", fleet_path, "--fill-wait", 0.5)
    assert code == 2
    assert "--fill-wait is 0.5" in err
