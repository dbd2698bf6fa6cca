"""A fleet at a moment of a trace, and traces drawn by chance."""

import json
import math
import statistics
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from profiler.cli.fleet import fleet as command
from profiler.fleet import FleetRequest, preset_fleet
from profiler.schema import (
    DeviceTrace,
    Fleet,
    InputError,
    read_fleet,
    read_trace,
    write,
)
from profiler.trace.generate import TraceRequest, generate_trace
from profiler.trace.moment import fleet_at
from tests.profiler.trace.traces import FIRST, FLEET, ORIGIN, SECOND, trace_of

LOW, HIGH = 125_000.0, 3_750_000.0


def classes_by_board(fleet: Fleet) -> dict[str, set[str]]:
    boards = {c.device.name for c in fleet.classes}
    return {b: {c.name for c in fleet.classes if c.device.name == b} for b in boards}


def test_each_row_holds_from_its_edge_to_the_next() -> None:
    trace = trace_of(DeviceTrace(name=FIRST.name, uplink_bytes_per_s=[1e3, 2e3]))
    speeds = [fleet_at(FLEET, trace, at).devices[0].uplink_bytes_per_s for at in range(4)]
    assert speeds == [1e3, 2e3, 2e3, 2e3]
    timed = trace_of(
        DeviceTrace(name=FIRST.name, downlink_bytes_per_s=[5.0, 6.0]), edge_s=[0, 2.5, 10]
    )
    assert fleet_at(FLEET, timed, 2.499).devices[0].downlink_bytes_per_s == 5
    assert fleet_at(FLEET, timed, 2.5).devices[0].downlink_bytes_per_s == 6


def test_only_what_the_trace_names_changes() -> None:
    other = "jetson-tx2/maxq"
    trace = trace_of(DeviceTrace(name=FIRST.name, device_class=[FIRST.device_class, other]))
    assert fleet_at(FLEET, trace, 0) == FLEET
    after = fleet_at(FLEET, trace, 1)
    assert after.devices[0] == msgspec.structs.replace(FIRST, device_class=other)
    assert after.devices[1:] == FLEET.devices[1:]


def test_devices_that_are_away_are_left_out() -> None:
    trace = trace_of(DeviceTrace(name=SECOND.name, available=[True, False]))
    assert [d.name for d in fleet_at(FLEET, trace, 2).devices] == [
        d.name for d in FLEET.devices if d != SECOND
    ]


def test_a_moment_without_devices_is_refused() -> None:
    trace = trace_of(
        *(DeviceTrace(name=d.name, available=[True, False]) for d in FLEET.devices)
    )
    assert fleet_at(FLEET, trace, 0) == FLEET
    with pytest.raises(InputError, match="no device is available at 1 rounds"):
        fleet_at(FLEET, trace, 1)


@pytest.mark.parametrize("at", [-1, 4, 1e9, math.nan])
def test_moments_outside_the_trace_are_refused(at: float) -> None:
    with pytest.raises(InputError, match="outside the trace; expected 0 or more, below 4"):
        fleet_at(FLEET, trace_of(), at)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (DeviceTrace(name="nobody"), "'nobody', which is not in the fleet"),
        (
            DeviceTrace(name=FIRST.name, device_class=[FIRST.device_class, "tx3"]),
            "class 'tx3', which is not in the fleet; make the fleet with --all-modes",
        ),
    ],
)
def test_a_trace_of_another_fleet_is_refused(change: DeviceTrace, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fleet_at(FLEET, trace_of(change), 0)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ({"edge_rounds": [], "edge_s": []}, "either edge_rounds or edge_s"),
        ({"edge_rounds": [0, 2], "edge_s": [0, 2]}, "either edge_rounds or edge_s"),
        ({"edge_rounds": [0]}, "begin at 0 and be two or more"),
        ({"edge_s": [1, 2, 3]}, "begin at 0"),
        ({"edge_rounds": [0, 2, 2]}, "rise strictly"),
        ({"edge_s": [0, math.inf]}, "finite"),
    ],
)
def test_edges_are_checked(edges: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trace_of(**edges)


def test_rows_are_checked() -> None:
    with pytest.raises(ValueError, match="uplink_bytes_per_s has 3 entries; expected 2"):
        trace_of(DeviceTrace(name="a", uplink_bytes_per_s=[1, 2, 3]))
    with pytest.raises(ValueError, match="'a' appears twice"):
        trace_of(DeviceTrace(name="a"), DeviceTrace(name="a"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"uplink_bytes_per_s": [0, 1]', "uplink_bytes_per_s"),
        ('"speed": [1, 1]', "unknown field `speed`"),
        ('"available": [1, 0]', "available"),
    ],
)
def test_the_file_is_closed(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    origin = msgspec.json.encode(ORIGIN).decode()
    path.write_text(
        f'{{"schema": "legend/trace/1", "provenance": {origin}, "edge_rounds": [0, 1, 2], '
        f'"devices": [{{"name": "a", {text}}}]}}',
        encoding="utf-8",
    )
    with pytest.raises(InputError, match=message):
        read_trace(path)


def test_the_first_row_is_the_fleet_itself() -> None:
    fleet = preset_fleet(FleetRequest(seed=5, options={}, all_modes=True))
    trace = generate_trace(fleet, TraceRequest(seed=3, rows=4, outage_probability=0.5))
    assert fleet_at(fleet, trace, 0) == fleet
    assert fleet_at(fleet, trace, 1) != fleet


def test_modes_switch_within_the_board_and_as_often_as_asked() -> None:
    trace = generate_trace(FLEET, TraceRequest(rows=2000, switch_probability=0.1))
    boards = classes_by_board(FLEET)
    of_board = {c.name: c.device.name for c in FLEET.classes}
    switches = rows = 0
    for device, change in zip(FLEET.devices, trace.devices, strict=True):
        board = of_board[device.device_class]
        assert set(change.device_class) == boards[board]
        switches += sum(a != b for a, b in pairwise(change.device_class))
        rows += len(change.device_class) - 1
    assert switches / rows == pytest.approx(0.1, rel=0.05)


def test_bandwidth_is_log_normal_with_the_spread_and_correlation_asked_for() -> None:
    wide = TraceRequest(
        rows=4000, uplink_mbit_per_s=(1e-6, 1e9), downlink_mbit_per_s=(1e-6, 1e9)
    )
    spreads, correlations = [], []
    for device, change in zip(FLEET.devices, generate_trace(FLEET, wide).devices, strict=True):
        logs = [math.log(s / device.uplink_bytes_per_s) for s in change.uplink_bytes_per_s]
        down = change.downlink_bytes_per_s[7] / device.downlink_bytes_per_s
        assert math.log(down) == pytest.approx(logs[7], abs=1e-4)
        spreads.append(statistics.pstdev(logs))
        correlations.append(statistics.correlation(logs[:-1], logs[1:]))
    assert statistics.mean(spreads) == pytest.approx(0.4, rel=0.05)
    assert statistics.mean(correlations) == pytest.approx(0.8, abs=0.02)


def test_bandwidth_stays_within_bounds() -> None:
    trace = generate_trace(FLEET, TraceRequest(rows=500, bandwidth_sigma=2.0))
    speeds = [s for change in trace.devices for s in change.uplink_bytes_per_s]
    assert min(speeds) == LOW
    assert max(speeds) == HIGH
    fast = msgspec.structs.replace(FIRST, uplink_bytes_per_s=1e9)
    wired = msgspec.structs.replace(FLEET, devices=[fast])
    (change,) = generate_trace(wired, TraceRequest(bandwidth_sigma=2.0)).devices
    assert max(change.uplink_bytes_per_s) == 1e9


def test_outages_have_the_length_asked_for() -> None:
    request = TraceRequest(rows=4000, outage_probability=0.05, outage_rows=4.0)
    away = runs = 0
    for change in generate_trace(FLEET, request).devices:
        away += change.available.count(False)
        runs += sum(a and not b for a, b in pairwise(change.available))
    assert away / runs == pytest.approx(4, rel=0.1)
    assert runs / (4000 * 12 - away) == pytest.approx(0.05, rel=0.1)


def test_what_does_not_change_is_left_out() -> None:
    trace = generate_trace(FLEET, TraceRequest(bandwidth_sigma=0.0, switch_probability=0.0))
    assert trace.devices == [DeviceTrace(name=d.name) for d in FLEET.devices]


def test_more_switching_leaves_the_bandwidth_alone_and_devices_are_independent() -> None:
    few, many = (
        generate_trace(FLEET, TraceRequest(switch_probability=p, rows=20)) for p in (0.01, 0.9)
    )
    assert few.devices[3].uplink_bytes_per_s == many.devices[3].uplink_bytes_per_s
    alone = msgspec.structs.replace(FLEET, devices=FLEET.devices[3:4])
    (change,) = generate_trace(alone, TraceRequest(switch_probability=0.9, rows=20)).devices
    assert change == many.devices[3]


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": 0},
        {"interval_s": 0.0},
        {"switch_probability": 1.5},
        {"bandwidth_sigma": -1.0},
        {"bandwidth_correlation": 1.0},
        {"outage_rows": 0.5},
        {"outage_probability": math.nan},
    ],
)
def test_requests_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="out of range"):
        TraceRequest(**wrong)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(command, list(arguments))


def test_the_command_writes_the_same_bytes_for_the_same_seed(tmp_path: Path) -> None:
    names = ("a", "b", "c")
    for name, seed in zip(names, ("1", "1", "2"), strict=True):
        folder = tmp_path / name
        folder.mkdir()
        result = run(
            *("paper-80", "--devices", "6", "--trace", str(folder / "trace.json")),
            *("--rounds", "9", "--seed", seed, "-o", str(folder / "fleet.json"), "--json"),
        )
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["trace"] == str(folder / "trace.json")
    first, second, third = ((tmp_path / n / "trace.json").read_bytes() for n in names)
    assert first == second
    assert first != third
    trace = read_trace(tmp_path / "a" / "trace.json")
    assert trace.edges == list(range(10))
    assert [file.name for file in trace.provenance.inputs] == ["fleet.json"]


def test_the_command_writes_the_fleet_at_a_round(tmp_path: Path) -> None:
    paths = {name: str(tmp_path / f"{name}.json") for name in ("fleet", "trace", "later")}
    made = run(
        *("paper-80", "--devices", "8", "--trace", paths["trace"], "--rounds", "40"),
        *("--switch-probability", "0.5", "-o", paths["fleet"]),
    )
    assert made.exit_code == 0, made.output
    at = ("--at", "30", "--fleet", paths["fleet"], "--trace", paths["trace"])
    assert run(*at, "-o", paths["later"]).exit_code == 0
    later, fleet = (read_fleet(Path(paths[name])) for name in ("later", "fleet"))
    trace = read_trace(Path(paths["trace"]))
    assert later.devices == fleet_at(fleet, trace, 30).devices
    assert later.provenance.options == {"at": "30"}
    assert [f.name for f in later.provenance.inputs] == ["fleet.json", "trace.json"]


def test_rows_may_last_seconds(tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    made = run(
        *("paper-80", "--devices", "3", "--trace", str(trace), "--rounds", "4"),
        *("--interval-s", "30", "-o", str(tmp_path / "fleet.json")),
    )
    assert made.exit_code == 0, made.output
    assert read_trace(trace).edge_s == [0, 30, 60, 90, 120]


@pytest.mark.parametrize(
    "arguments",
    [
        ("paper-80", "--at", "3"),
        ("--at", "3"),
        ("--at", "3", "--fleet", "fleet.json"),
        ("--at", "3", "--trace", "t.json", "--fleet", "f.json", "--rounds", "5"),
        ("--fleet", "fleet.json"),
        ("paper-80", "--rounds", "5"),
        ("paper-80", "--fleet", "fleet.json", "--trace", "t.json"),
        ("paper-80", "--trace", "fleet.json", "-o", "fleet.json"),
        ("paper-80", "--trace", "t.json", "--bandwidth-correlation", "1"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_classes_that_nobody_starts_in_are_planned_with(tmp_path: Path) -> None:
    from solver import Problem, solve

    path = tmp_path / "fleet.json"
    assert run("paper-80", "--devices", "2", "--all-modes", "-o", str(path)).exit_code == 0
    fleet = read_fleet(path)
    used = {d.device_class for d in fleet.devices}
    assert used < {c.name for c in fleet.classes}
    plan = solve(Problem.of(fleet, round_time_s=100))
    assert plan.certificate.status == "optimal"


def test_tables_keep_the_other_modes_too(tmp_path: Path) -> None:
    table, path = tmp_path / "devices.csv", tmp_path / "fleet.json"
    table.write_text(
        "name,class,uplink_mbit_per_s,downlink_mbit_per_s\na,jetson-tx2,5,9\n",
        encoding="utf-8",
    )
    trace = ("--trace", str(tmp_path / "trace.json"), "--rounds", "3")
    assert run("--from", str(table), *trace, "-o", str(path)).exit_code == 0
    names = [c.name for c in read_fleet(path).classes]
    assert names == ["jetson-tx2/maxn", "jetson-tx2/maxp", "jetson-tx2/maxq"]
    assert run("--from", str(table), "-o", str(path)).exit_code == 0
    assert [c.name for c in read_fleet(path).classes] == ["jetson-tx2/maxn"]


def test_a_fleet_without_a_trace_is_as_before(tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    assert run("paper-80", "--devices", "2", "-o", str(path)).exit_code == 0
    fleet = read_fleet(path)
    assert {c.name for c in fleet.classes} == {d.device_class for d in fleet.devices}
    again = tmp_path / "again.json"
    write(again, fleet)
    assert again.read_bytes() == path.read_bytes()
