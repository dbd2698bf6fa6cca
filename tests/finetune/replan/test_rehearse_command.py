"""`legend rehearse`: rounds on the clock alone."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from finetune.cli.rehearse import rehearse as command
from finetune.clock.charge import Tariff
from finetune.clock.conditions import Conditions, Moment
from finetune.devices import participants
from finetune.options import RunOptions
from finetune.replan.rehearse import rehearse
from profiler.fleet import FleetRequest, preset_fleet
from profiler.schema import DeviceTrace, InputError, write
from profiler.trace.generate import TraceRequest, generate_trace
from profiler.trace.within import fleet_within
from solver import Problem, solve
from tests.finetune.fleets import (
    ROUND_TIME_S,
    make_fleet,
    make_trace,
    plan_for,
    switching,
    write_all,
)

TRACE = switching(["fast", "slow"])


@pytest.fixture(name="folder")
def folder_with_files(tmp_path: Path) -> Path:
    fleet = make_fleet()
    write_all(tmp_path, fleet, TRACE, plan_for(fleet))
    write(tmp_path / "own.json", plan_for(fleet, round_time_s=None))  # type: ignore[arg-type]
    return tmp_path


def told(folder: Path, *more: str, plans: Sequence[str] = ("plan",)) -> list[dict[str, Any]]:
    """What it prints as JSON."""
    named = [str(folder / f"{name}.json") for name in plans]
    done = CliRunner().invoke(
        command,
        [*named, "--fleet", str(folder / "fleet.json"), *more, "--json"],
        catch_exceptions=False,
    )
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    return list(json.loads(done.stdout))


def with_trace(folder: Path) -> tuple[str, str]:
    return "--trace", str(folder / "trace.json")


def test_rounds_are_those_of_the_rehearsal(folder: Path) -> None:
    given = ("--rounds", "6", "--sample", "3", "--seed", "4", "--deadline", "11")
    (found,) = told(folder, *with_trace(folder), *given)
    options = RunOptions(rounds=6, sample=3, seed=4, deadline_s=11.0)
    played = list(rehearse(folder / "plan.json", make_fleet(), TRACE, options, folder))
    times = [each.cost.time_s for each in played]
    assert [r["time_s"] for r in found["rounds"]] == times
    assert [r["late"] for r in found["rounds"]] == [each.late for each in played]
    assert found["longest_s"] == max(times)
    assert found["total_s"] == pytest.approx(sum(times))
    assert found["left_out"] == sum(len(each.late) for each in played) > 0
    assert found["upload_bytes"] == sum(each.cost.upload_bytes for each in played)


def test_what_is_written_is_what_is_printed(folder: Path) -> None:
    out = folder / "rounds.json"
    found = told(folder, *with_trace(folder), "--rounds", "3", "-o", str(out))
    assert json.loads(out.read_text()) == found
    plan, fleet = str(folder / "plan.json"), str(folder / "fleet.json")
    lost = CliRunner().invoke(command, [plan, "--fleet", fleet, "-o", plan])
    assert "would be lost" in str(lost.exception)


def test_rounds_that_are_longer_than_promised_are_counted(folder: Path) -> None:
    # Two devices turn slow after the first of ten rounds, and everybody is asked.
    (found,) = told(folder, *with_trace(folder), "--rounds", "10", "--sample", "6")
    assert found["promised_s"] == ROUND_TIME_S
    assert found["over_fraction"] == 0.9
    times = [r["time_s"] for r in found["rounds"]]
    assert times[0] <= ROUND_TIME_S < times[1] == found["median_s"] == found["ninety_s"]


def test_without_a_trace_the_promise_is_kept(folder: Path) -> None:
    for plan in told(folder, "--rounds", "5", "--sample", "6", plans=("plan", "own")):
        assert plan["over_fraction"] == 0
        assert plan["new_plans"] == 0


def test_a_plan_without_a_budget_promises_what_it_predicts(folder: Path) -> None:
    (found,) = told(folder, "--rounds", "1", "--sample", "6", plans=("own",))
    assert found["longest_s"] == pytest.approx(found["promised_s"], rel=1e-9)


def test_planning_anew_is_rehearsed(folder: Path) -> None:
    given = (*with_trace(folder), "--rounds", "8", "--sample", "6")
    (kept,), (anew,) = told(folder, *given), told(folder, *given, "--replan-on-drift", "0.1")
    assert anew["new_plans"] > 0
    assert anew["over_fraction"] < kept["over_fraction"]
    assert not list(folder.glob("plan-*.json"))


def test_the_table_shows_what_there_is(folder: Path) -> None:
    given = [str(folder / "plan.json"), "--fleet", str(folder / "fleet.json"), "--rounds", "9"]
    plain = CliRunner().invoke(command, given, catch_exceptions=False).stdout
    late = CliRunner().invoke(command, [*given, "--deadline", "5"], catch_exceptions=False)
    assert "9 rounds" in plain
    assert "left out" not in plain
    assert "left out" in late.stdout


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--rounds", "0"), "--rounds is 0; expected 1 or more"),
        (("--replan-every", "0"), "--replan-every is 0"),
        (("--deadline", "nan"), "--deadline is nan"),
    ],
)
def test_bad_options_are_one_line(folder: Path, more: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        told(folder, *more)
    assert "\n" not in str(raised.value)


def test_a_fleet_or_trace_of_others_is_refused(folder: Path) -> None:
    write(folder / "trace.json", make_trace([0, 1], DeviceTrace(name="x")))
    with pytest.raises(InputError, match="'x', which is not in the fleet"):
        told(folder, *with_trace(folder))
    write(folder / "fleet.json", make_fleet(devices=5))
    with pytest.raises(InputError, match="give the fleet that the plan was made for"):
        told(folder)


def test_it_needs_no_torch(folder: Path) -> None:
    words = [str(folder / "plan.json"), "--fleet", str(folder / "fleet.json"), "--json"]
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('torch', 'transformers', 'peft', 'pandas')))\n"
        f"sys.argv = ['legend', 'rehearse', *{words!r}]\n"
        "from legend import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)[0]["rounds"]) == 100


@pytest.mark.parametrize("share", [0.8, 0.95])
def test_a_plan_for_a_share_of_the_trace_keeps_every_device_in_time(share: float) -> None:
    fleet = preset_fleet(FleetRequest(devices=12, all_modes=True, options={}))
    trace = generate_trace(fleet, TraceRequest(rows=80, seed=5, switch_probability=0.2))
    slow = fleet_within(fleet, trace, share)
    plan = solve(Problem.of(slow, objective="time", min_utility=0.7, ranks=[4, 8, 16]))
    tariff, conditions = Tariff(fleet, plan), Conditions(fleet, trace)
    moments = [conditions.at(Moment(row)) for row in range(80)]
    for device in participants(plan):
        planned = next(d for d in plan.devices if d.name == device.owner).predicted
        assert planned is not None
        kept = [
            tariff.charge(device, there[device.owner]).time_s <= planned.time_s * (1 + 1e-9)
            for there in moments
        ]
        assert sum(kept) / len(kept) >= 1 - 3 * (1 - share)
    # And in the state that it plans for, exactly so long.
    still = {d.name: d for d in slow.devices}
    for device in participants(plan):
        time_s = Tariff(slow, plan).charge(device, still[device.owner]).time_s
        planned = next(d for d in plan.devices if d.name == device.owner).predicted
        assert planned is not None
        assert time_s == pytest.approx(planned.time_s)
