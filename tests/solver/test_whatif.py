"""What-if changes: applied to just the devices meant, refused with one line otherwise."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from profiler.derive import DEFAULT_TRAINING
from profiler.fleet.files import TableRequest, table_fleet
from profiler.schema import InputError
from solver import Problem
from solver.whatif import changed
from tests.solver.instances import random_fleet


def test_changes_one_device_and_leaves_the_others() -> None:
    fleet = random_fleet(3)
    after = changed(fleet, ["device=d1,uplink_mbit_per_s=5,memory_gb=2"])
    assert after.devices[1].uplink_bytes_per_s == 5e6 / 8
    assert after.devices[1].memory_bytes == 2_000_000_000
    assert after.devices[0] == fleet.devices[0]
    assert after.devices[2:] == fleet.devices[2:]


def test_speeds_may_have_the_names_that_they_had_before() -> None:
    fleet = random_fleet(3)
    before = changed(fleet, ["all,uplink_mbps=5,downlink_mbps=7"])
    assert before == changed(fleet, ["all,uplink_mbit_per_s=5,downlink_mbit_per_s=7"])


def test_changes_a_class_and_several_at_once() -> None:
    fleet = random_fleet(3)
    after = changed(fleet, ["class=class-0,local_steps=9", "device=d0,count=2"])
    # By its device's name alone, as in a table.
    assert changed(fleet, ["class=board-0,local_steps=9", "device=d0,count=2"]) == after
    assert [d.local_steps for d in after.devices if d.device_class == "class-0"] == [9, 9]
    assert after.devices[0].count == 2


def test_changes_all_devices() -> None:
    fleet = random_fleet(3)
    after = changed(fleet, ["all,memory_gb=2", "device=d0,memory_gb=3"])
    assert [d.memory_bytes for d in after.devices[1:]] == [2_000_000_000] * (
        len(fleet.devices) - 1
    )
    assert after.devices[0].memory_bytes == 3_000_000_000


def test_units_are_those_of_a_table_of_devices(tmp_path: Path) -> None:
    table = tmp_path / "devices.csv"
    table.write_text(
        "name,class,uplink_mbit_per_s,downlink_mbit_per_s,memory_gb,storage_gb\n"
        "a,jetson-tx2,1,1,3.5,2.5\nb,jetson-tx2,8,4,1,1\n"
    )
    request = TableRequest(
        path=table,
        profiles=(),
        profile_paths=(),
        model="gpt2",
        training=DEFAULT_TRAINING,
        local_steps=1,
        options={},
    )
    first, second = changed(
        table_fleet(request),
        ["device=b,uplink_mbit_per_s=1,downlink_mbit_per_s=1,memory_gb=3.5,storage_gb=2.5"],
    ).devices
    assert replace(second, name="a") == first


def test_a_draw_that_is_not_known_can_be_given() -> None:
    fleet = random_fleet(3)
    dark = replace(
        fleet,
        classes=[replace(c, device=replace(c.device, power_w=0.0)) for c in fleet.classes],
    )
    name = fleet.devices[0].device_class
    with pytest.raises(InputError, match=r"power_w, is not known.*power_w=W"):
        Problem.of(dark, ranks=[1, 2], energy_j=1e6)
    lit = changed(dark, ["all,power_w=5", f"class={name},power_w=7"])
    draws = {c.name: c.device.power_w for c in lit.classes}
    assert draws == dict.fromkeys(draws, 5.0) | {name: 7.0}
    assert lit.devices == dark.devices
    assert Problem.of(lit, ranks=[1, 2], energy_j=1e6).question.budgets.energy_j == 1e6


def test_the_help_names_every_field(run: Any) -> None:
    _, out, _ = run("solve", "--help")
    with pytest.raises(InputError) as caught:
        changed(random_fleet(3), ["all,colour=1"])
    named = str(caught.value).partition("expected one of ")[2].split(", ")
    assert len(named) > 5
    assert [name for name in named if name not in out] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("device=nobody,uplink_mbit_per_s=1", "no device 'nobody'"),
        ("device=d1", "then FIELD=VALUE"),
        ("uplink_mbit_per_s=1", "expected device=NAME or class=NAME"),
        ("device=d1,class=class-0,uplink_mbit_per_s=1", "expected device=NAME or class=NAME"),
        ("all", "or all, then FIELD=VALUE"),
        ("all=d1,uplink_mbit_per_s=1", "or all, then FIELD=VALUE"),
        ("all,device=d1,uplink_mbit_per_s=1", "or all, then FIELD=VALUE"),
        ("device=d1,up=1", "no field 'up'"),
        ("device=d11,count=1", "no device 'd11'; expected a device's name, such as d1"),
        ("class=board,count=1", "no class 'board'; expected one of class-0, class-1$"),
        ("device=d1,power_w=3", "power_w is of a class"),
        ("all,power_w=-3", "power_w is -3; expected 0 or more"),
        ("device=d1,uplink_mbit_per_s=fast", "expected a number in range"),
        ("device=d1,uplink_mbit_per_s=nan", "expected a number in range"),
        ("device=d1,uplink_mbit_per_s=0", "expected above 0"),
        ("device=d1,count=0", "expected a whole number from 1"),
        ("all,uplink_mbit_per_s=5,uplink_mbps=6", "says something twice"),
    ],
)
def test_refuses_bad_changes(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        changed(random_fleet(3), [text])
