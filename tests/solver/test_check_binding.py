"""What stops a device from one layer more: what is said is true, and no other text passes."""

from typing import Any

import pytest
from msgspec.structs import replace

from profiler.schema import Fleet
from solver.check import check
from solver.check.binding import binding_checks
from solver.check.costs import recompute
from solver.plan import Plan
from solver.planner import solve
from solver.problem import Problem
from tests.solver.fleets import hand_plan, planned_fleet
from tests.solver.instances import random_fleet
from tests.solver.mixed import made

NAME = "devices.binding"
TEXTS = (
    "all layers",
    "round time",
    "memory",
    "upload",
    "download",
    "energy",
    "greatest depth",
    "link nowhere",
    "rank budget",
    "mean wait",
    "no gain deeper",
    "no limit",
)


def saying(plan: Plan, *texts: str) -> Plan:
    """The plan with these texts on its first devices."""
    said = [replace(d, binding=t) for d, t in zip(plan.devices, texts, strict=False)]
    return replace(plan, devices=[*said, *plan.devices[len(said) :]])


def wrong(plan: Plan, fleet: Fleet) -> bool:
    return NAME in {c.name for c in check(plan, fleet).failed}


def by_hand(**budgets: Any) -> Plan:
    """The hand-made plan without what is not said here."""
    plan = hand_plan()
    free = dict.fromkeys(plan.question.budgets.__struct_fields__)
    question = replace(
        plan.question, budgets=replace(plan.question.budgets, **(free | budgets))
    )
    return replace(plan, question=question)


@pytest.mark.parametrize(
    ("text", "budgets"),
    [
        # With a layer of rank 3 more, device a needs 5 (0.75 + 0.8 + 0.07) s to compute and
        # 4 (7 * 16 + 18) bytes each way at 1 and 2 kB/s: 9.13 s, and 81 + 1.04 J.
        ("round time", {"round_time_s": 9.12}),
        ("no limit", {"round_time_s": 9.14}),
        ("upload", {"upload_bytes": 519.0, "round_time_s": 9.12}),
        ("round time", {"upload_bytes": 519.0, "round_time_s": 9.0}),
        ("download", {"download_bytes": 519.0}),
        ("energy", {"energy_j": 82.0}),
        # The server has a rank for the layer.
        ("no limit", {"rank_budget": 9}),
        # The round would last for 9.13 s, and the fast device wait for 5.483 s of it.
        ("mean wait", {"mean_wait_s": 1.82}),
        ("no limit", {"mean_wait_s": 1.83}),
        ("upload", {"mean_wait_s": 1.82, "upload_bytes": 519.0}),
    ],
)
def test_worked_out_by_hand(text: str, budgets: dict[str, float]) -> None:
    plan, fleet = by_hand(**budgets), planned_fleet()
    for other in TEXTS:
        assert wrong(saying(plan, other), fleet) == (other != text), other
    # With all layers who is left out would send 648 bytes.
    traffic = {"upload_bytes": "upload", "download_bytes": "download"}
    absent = next((traffic[name] for name in budgets if name in traffic), "no limit")
    assert not wrong(saying(plan, text, "all layers", absent), fleet)
    assert not wrong(saying(plan, ""), fleet)
    found = next(c for c in check(saying(plan, "magic"), fleet).failed if c.name == NAME)
    assert (found.seen, found.expected) == ("magic", text)


def test_a_layer_that_gains_nothing_and_one_without_a_rank() -> None:
    fleet, plan = planned_fleet(), by_hand(rank_budget=7)
    lone = replace(plan, devices=[plan.devices[0]], ranks=[0, 0, 4])
    one = replace(fleet, devices=[fleet.devices[0]])
    assert not wrong(saying(lone, "no limit"), one)
    tight = by_hand(rank_budget=5)
    lone = replace(tight, devices=[plan.devices[0]], ranks=[0, 0, 4])
    assert not wrong(saying(lone, "rank budget"), one)
    assert wrong(saying(lone, "no limit"), one)
    flat = replace(fleet.gain, by_layer=[[0.1, 0.2], [0.0, 0.0], [0.5, 0.6]])
    assert not wrong(saying(by_hand(), "no gain deeper"), replace(fleet, gain=flat))
    assert wrong(saying(by_hand(), "no limit"), replace(fleet, gain=flat))


def test_what_plans_say_is_true_and_nothing_else_is() -> None:
    seen = set()
    # The last two have a link and a download that bind.
    for seed in (*range(100), 144, 193):
        found = made(seed)
        if found is None:
            continue
        fleet, plan = found
        truth = recompute(plan, fleet)
        for device in plan.devices:
            seen.add("link" if device.binding.startswith("link ") else device.binding)
            for text in (device.binding, *TEXTS):
                lone = {d.name: text if d is device else "" for d in plan.devices}
                devices = [replace(d, binding=lone[d.name]) for d in plan.devices]
                (told,) = binding_checks(replace(plan, devices=devices), fleet, truth)
                assert told.ok == (text == device.binding), (seed, device.name, text, told)
    assert seen >= {*TEXTS, "link"} - {"no gain deeper", "upload", "link nowhere"}


def test_gains_that_end_are_said_to() -> None:
    fleet = random_fleet(3, layers=3)
    rows = [[0.0] * len(fleet.gain.ranks), *fleet.gain.by_layer[1:]]
    idle = replace(fleet, gain=replace(fleet.gain, by_layer=rows))
    plan = solve(Problem.of(idle, ranks=[1, 2], round_time_s=100))
    assert check(plan, idle).ok
    said = {d.binding for d in plan.devices}
    assert said <= {"no gain deeper", "memory", "all layers"}


def test_verify_names_the_device_and_what_stops_it(
    run: Any, fleet_path: Any, tmp_path: Any
) -> None:
    path = tmp_path / "plan.json"
    run("solve", fleet_path, "--ranks", "1-4", "--round-time", 90, "-o", path)
    text = path.read_text()
    assert '"all layers"' in text
    path.write_text(text.replace('"all layers"', '"mean wait"', 1))
    code, out, _ = run("verify", path, fleet_path)
    assert (code, "FAILED devices.binding: seen mean wait, expected all layers" in out) == (
        2,
        True,
    )
