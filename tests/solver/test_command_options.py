"""Options that `compare` and `frontier` share with `solve`: they ask the same question."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from profiler.schema import write
from solver.frontier import every_step, undominated
from solver.leave_out import without_unable
from solver.plan import Plan
from solver.problem import Problem
from tests.solver.instances import random_fleet

SLOW = ("--set", "device=d0,time_scale=3")
ASKED = ("--ranks", "1-4", "--round-time", 9)


def plan_of(run: Any, fleet: Path, *options: object) -> Plan:
    code, out, err = run("solve", fleet, *options, "--json")
    assert (code, err) == (0, "")
    return msgspec.json.decode(out, type=Plan)


def answer(run: Any, command: str, fleet: Path, *options: object) -> list[dict[str, Any]]:
    code, out, err = run(command, fleet, *options, "--json")
    assert (code, err) == (0, "")
    found: list[dict[str, Any]] = json.loads(out)
    return found


@pytest.fixture
def partly_able(tmp_path: Path) -> Path:
    """A fleet of which one device has no room for any layer."""
    whole = random_fleet(3, layers=3, devices=6, max_rank=4)
    small = replace(whole.devices[2], memory_bytes=1_000_000)
    path = tmp_path / "partly.json"
    write(path, replace(whole, devices=[*whole.devices[:2], small, *whole.devices[3:]]))
    return path


def test_a_what_if_is_compared_as_it_is_solved(run: Any, fleet_path: Path) -> None:
    usual, slower = plan_of(run, fleet_path, *ASKED), plan_of(run, fleet_path, *ASKED, *SLOW)
    assert slower.predicted.utility < usual.predicted.utility
    rows = answer(run, "compare", fleet_path, *ASKED, *SLOW, "--policy", "exact")
    assert rows[0]["predicted"]["utility"] == slower.predicted.utility
    points = answer(run, "frontier", fleet_path, *ASKED, *SLOW, "--all")
    assert points[-1]["utility"] == slower.predicted.utility


def test_a_plan_is_compared_on_the_fleet_that_was_asked_about(
    run: Any, fleet_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "plan.json"
    plan_of(run, fleet_path, *ASKED, *SLOW, "-o", path)
    beside = ("compare", fleet_path, *ASKED, "--policy", "legend", "--plan", path)
    assert run(*beside, *SLOW)[0] == 0
    code, _, err = run(*beside)
    assert (code, "does not hold for this fleet" in err) == (2, True)


@pytest.mark.parametrize("structure", ["shared", "capped", "own"])
def test_structures_are_those_of_solve(run: Any, fleet_path: Path, structure: str) -> None:
    one = ("--structure", structure)
    best = plan_of(run, fleet_path, *ASKED, *one, "--method", "dp").predicted.utility
    rows = answer(run, "compare", fleet_path, *ASKED, *one, "--policy", "exact")
    assert [row["policy"] for row in rows] == [f"exact, {structure} ranks"]
    assert rows[0]["question"]["structure"] == structure
    assert rows[0]["predicted"]["utility"] == pytest.approx(best, rel=1e-6)
    points = answer(run, "frontier", fleet_path, *ASKED, *one, "--points", 2)
    assert points[-1]["utility"] == pytest.approx(best, rel=1e-6)


def test_two_structures_are_two_rows_and_no_other_policys(run: Any, fleet_path: Path) -> None:
    two = ("--structure", "own", "--structure", "shared")
    rows = answer(run, "compare", fleet_path, *ASKED, *two)
    names = [row["policy"] for row in rows]
    assert names[:3] == ["exact, own ranks", "exact, shared ranks", "legend"]
    assert len(names) == len(set(names)) > 10


def test_who_is_left_out_is_asked_of_exact_alone(run: Any, partly_able: Path) -> None:
    asked = ("--ranks", "1-4", "--round-time", 30)
    without = answer(run, "compare", partly_able, *asked)
    rows = answer(run, "compare", partly_able, *asked, "--leave-out", "unable")
    assert [r["policy"] for r in rows] == [r["policy"] for r in without]
    assert all(r["predicted"] is None and "d2 needs" in r["reason"] for r in without[:3])
    assert all(r["predicted"] is not None for r in rows[:3])
    assert rows[3:] == without[3:]
    plan = plan_of(run, partly_able, *asked, "--leave-out", "unable")
    assert rows[0]["predicted"]["utility"] == plan.predicted.utility


def test_a_curve_that_leaves_out_the_unable(run: Any, partly_able: Path) -> None:
    code, _, err = run("frontier", partly_able, "--ranks", "1,3")
    assert (code, "d2 needs" in err) == (3, True)
    asked = ("--ranks", "1,3", "--leave-out", "unable")
    points = answer(run, "frontier", partly_able, *asked, "--all")
    count = sum(d["count"] for d in json.loads(partly_able.read_text())["devices"])
    assert all(1 <= p["left_out"] < count for p in points)
    assert points[0]["left_out"] > points[-1]["left_out"]
    for point in points:
        limit = point["round_time_s"] * (1 + 1e-9)
        plan = plan_of(run, partly_able, *asked, "--round-time", limit)
        assert plan.predicted.utility == pytest.approx(point["utility"], rel=1e-12)
        absent = sum(d.count for d in plan.devices if d.configuration is None)
        assert absent == point["left_out"]
    _, out, _ = run("frontier", partly_able, *asked, "--points", 4)
    assert "left out" in out


@pytest.mark.parametrize("seed", range(6))
def test_the_curve_of_the_able_misses_nothing(seed: int) -> None:
    """At any round time no plan beats the curve, and the curve is of plans."""
    from functools import partial

    import numpy as np

    from solver.errors import Infeasible
    from solver.exact import maximise_utility

    fleet = random_fleet(seed, layers=3, devices=6, max_rank=3)
    problem = Problem.of(fleet, ranks=[1, 3], leave_out="unable")
    curve = undominated(list(every_step(problem))[::-1])
    plan = partial(maximise_utility, branching=False)
    times = np.geomspace(0.9 * curve[0].round_time_s, 1.1 * curve[-1].round_time_s, 40)
    for seconds in times.tolist():
        try:
            best = without_unable(problem.under(round_time_s=seconds), plan).value
        except Infeasible:
            best = 0.0
        reached = max((p.utility for p in curve if p.round_time_s <= seconds), default=0.0)
        assert reached >= best * (1 - 1e-12)


@pytest.mark.parametrize("command", ["compare", "frontier"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--set", "device=nobody,uplink_mbit_per_s=2"), "no device 'nobody'"),
        (("--set", "device=d0,colour=2"), "no field 'colour'"),
        (("--set", "device=d0"), "expected device=NAME"),
        (("--structure", "loose"), "not one of"),
        (("--leave-out", "d0"), "not one of"),
    ],
)
def test_what_is_no_option_is_one_line(
    run: Any, fleet_path: Path, command: str, options: tuple[str, ...], message: str
) -> None:
    code, out, err = run(command, fleet_path, *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_policies_named_twice_are_shown_once(run: Any, fleet_path: Path) -> None:
    twice = ("--policy", "exact", "--policy", "exact", "--structure", "own")
    rows = answer(run, "compare", fleet_path, *ASKED, *twice, "--structure", "own")
    assert [row["policy"] for row in rows] == ["exact, own ranks"]


def test_prices_are_of_those_who_take_part(run: Any, partly_able: Path) -> None:
    asked = ("--ranks", "1-4", "--round-time", 30, "--leave-out", "unable")
    code, out, err = run("solve", partly_able, *asked, "--prices", "--json")
    assert (code, err) == (0, "")
    found = {p["budget"]: p for p in json.loads(out)["prices"]}
    longer = plan_of(run, partly_able, *asked[:2], "--round-time", 31, *asked[4:])
    gained = longer.predicted.utility - json.loads(out)["plan"]["predicted"]["utility"]
    assert found["second of round time"]["utility"] == pytest.approx(max(gained, 0), abs=1e-12)


def test_a_cache_that_no_device_can_hold_is_said(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    made = random_fleet(3, layers=3, devices=3, max_rank=4)
    write(path, replace(made, devices=[replace(d, storage_bytes=0) for d in made.devices]))
    asked = ("solve", path, "--ranks", "1-4", "--cache", "auto")
    code, _, err = run(*asked)
    assert (code, err.startswith("note: cache 'auto' keeps nothing")) == (0, True)
    assert run(*asked, "--set", "all,storage_gb=4")[2] == ""
