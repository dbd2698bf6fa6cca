"""A fleet as slow as its devices are at most in a share of a trace."""

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from profiler.cli.fleet import fleet as command
from profiler.predict import full_depth_step_s
from profiler.schema import DeviceTrace, InputError, read_fleet, read_trace, write
from profiler.trace.generate import TraceRequest, generate_trace
from profiler.trace.within import fleet_within
from tests.profiler.trace.traces import FIRST, FLEET, SECOND, trace_of

STEP_S = {each.name: full_depth_step_s(each.time) for each in FLEET.classes}


def share_of(holds: Sequence[bool], lasts: Sequence[float]) -> float:
    """Share of the time for which something holds."""
    return float(np.dot(holds, lasts) / np.sum(lasts))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("interval_s", [None, 7.0])
def test_a_device_is_no_worse_for_that_share_and_for_no_state_better(
    share: float, interval_s: float | None
) -> None:
    trace = generate_trace(
        FLEET, TraceRequest(rows=60, seed=3, switch_probability=0.3, interval_s=interval_s)
    )
    lasts = np.diff(trace.edges).tolist()
    slow = {device.name: device for device in fleet_within(FLEET, trace, share).devices}
    for change in trace.devices:
        device = slow[change.name]
        figures = (
            ([STEP_S[name] for name in change.device_class], STEP_S[device.device_class]),
            ([-s for s in change.uplink_bytes_per_s], -device.uplink_bytes_per_s),
            ([-s for s in change.downlink_bytes_per_s], -device.downlink_bytes_per_s),
        )
        for seen, planned in figures:
            assert share_of([s <= planned for s in seen], lasts) >= share - 1e-9
            assert share_of([s < planned for s in seen], lasts) < max(share, 1e-9)


def test_rows_count_by_how_long_they_last() -> None:
    # One round of four, and then three, at other speeds.
    trace = trace_of(DeviceTrace(name=FIRST.name, uplink_bytes_per_s=[1e3, 2e3]))
    speeds = [
        fleet_within(FLEET, trace, share).devices[0].uplink_bytes_per_s
        for share in (0.75, 0.76)
    ]
    assert speeds == [2e3, 1e3]


def test_whoever_the_trace_does_not_name_stays_and_nobody_is_left_out() -> None:
    trace = trace_of(DeviceTrace(name=SECOND.name, available=[True, False]))
    assert fleet_within(FLEET, trace, 0.9) == FLEET


def test_the_slowest_mode_is_the_one_of_the_longest_step() -> None:
    modes = sorted(
        (c.name for c in FLEET.classes if c.name.startswith("jetson-tx2/")),
        key=STEP_S.__getitem__,
    )
    device = next(d for d in FLEET.devices if d.device_class in modes)
    trace = trace_of(
        DeviceTrace(name=device.name, device_class=modes), edge_rounds=[0, 1, 2, 3]
    )
    found = [
        {d.name: d for d in fleet_within(FLEET, trace, share).devices}[device.name].device_class
        for share in (0.0, 0.5, 1.0)
    ]
    assert found == modes


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_what_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="expected 0 to 1"):
        fleet_within(FLEET, trace_of(), share)


def test_a_trace_of_another_fleet_is_refused() -> None:
    with pytest.raises(InputError, match="'nobody', which is not in the fleet"):
        fleet_within(FLEET, trace_of(DeviceTrace(name="nobody")), 0.5)


def test_the_command_writes_it_and_says_what_from(tmp_path: Path) -> None:
    trace = generate_trace(FLEET, TraceRequest(rows=20, seed=1))
    write(tmp_path / "fleet.json", FLEET)
    write(tmp_path / "trace.json", trace)
    given = ("--fleet", str(tmp_path / "fleet.json"), "--trace", str(tmp_path / "trace.json"))
    done = CliRunner().invoke(
        command, [*given, "--within", "0.9", "-o", str(tmp_path / "slow.json")]
    )
    assert done.exit_code == 0, done.output
    slow = read_fleet(tmp_path / "slow.json")
    assert slow.devices == fleet_within(FLEET, read_trace(tmp_path / "trace.json"), 0.9).devices
    assert slow.provenance.options == {"within": "0.9"}
    assert [f.name for f in slow.provenance.inputs] == ["fleet.json", "trace.json"]
    assert msgspec.structs.replace(slow, devices=[], provenance=FLEET.provenance) == (
        msgspec.structs.replace(FLEET, devices=[])
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("paper-80", "--within", "0.9"),
        ("--within", "0.9"),
        ("--within", "0.9", "--fleet", "fleet.json"),
        ("--within", "0.9", "--at", "3", "--fleet", "fleet.json", "--trace", "t.json"),
        ("--within", "0.9", "--fleet", "f.json", "--trace", "t.json", "--rounds", "5"),
        ("--within", "0.9", "--fleet", "f.json", "--trace", "t.json", "--seed", "5"),
        ("--within", "2", "--fleet", "f.json", "--trace", "t.json"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(command, arguments).exit_code == 2
