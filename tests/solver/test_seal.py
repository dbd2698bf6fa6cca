"""The seal: no edit of question or certificate passes, whatever else still holds."""

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from profiler.schema import write
from solver.check import check
from solver.plan import Plan, read_plan
from solver.planner import solve
from solver.problem import Problem
from solver.seal import seal, sealed
from tests.solver.fleets import hand_plan, planned_fleet
from tests.solver.instances import random_fleet

FLEET = random_fleet(2, layers=3, devices=5, max_rank=4)
SEAL = "certificate.seal_sha256"
# Edits that leave every figure and every limit as they are.
WIDENED = [
    (("question", "structure"), "own"),
    (("question", "rank_choices"), [1, 2, 3, 4, 5]),
    (("question", "min_depth"), 0),
    (("question", "policy"), "legend"),
    (("question", "leave_out"), "unable"),
    (("question", "min_utility"), 0.001),
    (("question", "budgets", "round_time_s"), 9.5),
    (("question", "budgets", "round_time_s"), None),
    (("question", "budgets", "mean_wait_s"), 100.0),
    (("question", "budgets", "rank_budget"), 12),
    (("certificate", "status"), "feasible"),
    (("certificate", "method"), "magic"),
    (("certificate", "tolerance_fraction"), 1e-8),
]


def made() -> Plan:
    """A plan that does not say what stops its devices, which some edits would belie."""
    plan = solve(Problem.of(FLEET, ranks=range(1, 5), round_time_s=9))
    return replace(plan, devices=[replace(d, binding="") for d in plan.devices])


def edited(plan: Plan, path: tuple[str, ...], value: object) -> Plan:
    raw: Any = msgspec.to_builtins(plan)
    spot = raw
    for key in path[:-1]:
        spot = spot[key]
    spot[path[-1]] = value
    return msgspec.convert(raw, type=Plan)


@pytest.mark.parametrize(("path", "value"), WIDENED)
def test_an_edit_that_keeps_every_limit_is_found(path: tuple[str, ...], value: object) -> None:
    plan = made()
    assert check(plan, FLEET).ok
    forged = edited(plan, path, value)
    assert [c.name for c in check(forged, FLEET).failed] == [SEAL]
    # The seal is what finds it.
    unsealed = edited(forged, ("certificate", "seal_sha256"), None)
    verdict = check(unsealed, FLEET)
    assert verdict.ok
    assert "no seal" in verdict.notes[0]


def test_a_certificate_of_another_question_is_found() -> None:
    tight = made()
    loose = solve(Problem.of(FLEET, ranks=range(1, 5), round_time_s=9, min_depth=0))
    assert loose.certificate.value == tight.certificate.value
    forged = replace(tight, certificate=loose.certificate)
    assert [c.name for c in check(forged, FLEET).failed] == [SEAL]


def test_what_does_not_change_the_question_keeps_the_seal(tmp_path: Path) -> None:
    """Reading and writing, numbers given as whole ones, and defaults spelt out or not."""
    plan, path = made(), tmp_path / "plan.json"
    write(path, plan)
    assert read_plan(path) == plan
    raw = json.loads(path.read_text())
    assert raw["question"]["budgets"]["round_time_s"] == 9
    raw["question"]["budgets"] = {"round_time_s": 9}
    del raw["question"]["structure"]
    path.write_text(json.dumps(raw))
    assert check(read_plan(path), FLEET).ok
    same = solve(Problem.of(FLEET, ranks=[4, 3, 2, 1, 1], round_time_s=float(np.float64(9))))
    assert same.certificate.seal_sha256 == plan.certificate.seal_sha256


def test_the_page_says_how_to_compute_it() -> None:
    """As docs/plan-format.md has it, with nothing of ours."""
    plan = made()
    raw = msgspec.to_builtins(plan)
    kept = {
        "certificate": {
            name: raw["certificate"][name]
            for name in ("status", "method", "value", "bound", "gap_fraction")
        },
        "question": {
            "policy": "exact",
            "rank_choices": [1, 2, 3, 4],
            "budgets": {"round_time_s": 9},
        },
    }
    kept["certificate"]["gap_fraction"] = 0
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    assert plan.certificate.seal_sha256 == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 1e300, 2.0**60])
def test_numbers_no_plan_should_have_do_no_harm(number: float) -> None:
    plan = hand_plan()
    claim = sealed(plan.question, replace(plan.certificate, bound=number, value=number))
    verdict = check(replace(plan, certificate=claim), planned_fleet())
    assert not verdict.ok
    assert SEAL not in {c.name for c in verdict.failed}
    assert seal(plan.question, claim) == claim.seal_sha256


def test_verify_says_what_was_edited_and_what_could_not_be_checked(
    run: Any, fleet_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "plan.json"
    run("solve", fleet_path, "--ranks", "1-4", "--round-time", 90, "-o", path)
    code, out, _ = run("verify", path, fleet_path)
    assert (code, "note" in out, out.count("\n")) == (0, False, 1)
    whole = path.read_text()
    path.write_text(whole.replace('"round_time_s": 90.0', '"round_time_s": 91'))
    code, out, _ = run("verify", path, fleet_path)
    assert code == 2
    assert f"FAILED {SEAL}: " in out
    assert "question or the certificate was edited" in out
    raw = json.loads(whole)
    del raw["certificate"]["seal_sha256"]
    path.write_text(json.dumps(raw))
    code, out, _ = run("verify", path, fleet_path)
    assert (code, "note: the plan has no seal" in out) == (0, True)
    code, out, _ = run("verify", path, fleet_path, "--json")
    assert (code, len(json.loads(out)["notes"])) == (0, 1)


def test_verify_notes_another_fleet_than_the_bound_is_of(
    run: Any, fleet_path: Path, tmp_path: Path
) -> None:
    plan, other = tmp_path / "plan.json", tmp_path / "other.json"
    asked = ("solve", fleet_path, "--ranks", "1-3", "--round-time", 90, "-o", plan)
    run(*asked)
    # More to gain at a rank that the plan may not use: no figure of it changes.
    fleet = random_fleet(2, layers=3, devices=5, max_rank=4)
    better = [[*row[:3], 2 * row[3]] for row in fleet.gain.by_layer]
    write(other, replace(fleet, gain=replace(fleet.gain, by_layer=better)))
    code, out, _ = run("verify", plan, other)
    assert (code, out.count("\n")) == (0, 2)
    assert f"note: {other} is not the very file" in out
    # A what-if that no figure shows.
    run(*asked, "--set", "class=class-0,storage_gb=1")
    code, out, _ = run("verify", plan, fleet_path)
    assert (code, "note: the plan answers a what-if (class=class-0" in out) == (0, True)


def test_a_what_if_is_verified_with_its_change_or_the_fleet_that_has_it(
    run: Any, fleet_path: Path, tmp_path: Path
) -> None:
    plan, changed = tmp_path / "plan.json", tmp_path / "changed.json"
    change = ("--set", "all,time_scale=3")
    code, _, _ = run("solve", fleet_path, "--round-time", 200, *change, "-o", plan)
    assert code == 0
    code, out, _ = run("verify", plan, fleet_path)
    assert (code, "the same --set" in out) == (2, True)
    code, out, _ = run("verify", plan, fleet_path, *change)
    assert (code, "note" in out) == (0, False)
    code, _, err = run("fleet", "--fleet", fleet_path, *change, "-o", changed)
    assert (code, "wrote" in err) == (0, True)
    code, out, _ = run("verify", plan, changed)
    assert (code, "note" in out) == (0, False)
