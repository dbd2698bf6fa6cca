"""Limits of devices' own in files, tables, frames, changes and traces of a fleet."""

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
from click.testing import CliRunner
from msgspec import UNSET
from msgspec.structs import replace

from profiler.cli.fleet import fleet as command
from profiler.fleet import FleetRequest, preset_fleet
from profiler.fleet.files import TableRequest, table_fleet
from profiler.fleet.frame import devices_frame, fleet_from_frame
from profiler.schema import (
    LIMIT_COLUMNS,
    LIMITS,
    Fleet,
    InputError,
    Training,
    changed,
    limit_of,
    read_fleet,
    write,
)
from profiler.trace.generate import TraceRequest, generate_trace
from profiler.trace.moment import fleet_at
from profiler.trace.within import fleet_within
from tests.solver.instances import random_fleet

TRAINING = Training(batch_size=8, sequence_length=64)
HEADER = (
    "name,class,uplink_mbit_per_s,downlink_mbit_per_s,upload_mb,download_mb,energy_j,time_s"
)


def raw(fleet: Fleet, part: str, field: str, value: object) -> bytes:
    """The fleet's file with something put into its first device or class."""
    found: Any = msgspec.to_builtins(fleet)
    found[part][0][field] = value
    return json.dumps(found).encode()


def limits(fleet: Fleet) -> list[dict[str, float]]:
    """What every device has, by field, its class's too."""
    classes = {c.name: c for c in fleet.classes}
    return [
        {f: v for f in LIMITS if (v := limit_of(d, classes[d.device_class], f)) is not None}
        for d in fleet.devices
    ]


def table(tmp_path: Path, *rows: str) -> Fleet:
    path = tmp_path / "devices.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return table_fleet(
        TableRequest(
            path=path, profiles=(), profile_paths=(), model="gpt2", training=TRAINING,
            local_steps=3, options={},
        )
    )  # fmt: skip


def test_files_without_limits_are_as_they_were(tmp_path: Path) -> None:
    fleet = random_fleet(1)
    write(tmp_path / "fleet.json", fleet)
    text = (tmp_path / "fleet.json").read_text()
    assert "limit" not in text
    assert read_fleet(tmp_path / "fleet.json") == fleet
    assert limits(fleet) == [{}] * len(fleet.devices)


def test_a_limit_of_0_stays_one(tmp_path: Path) -> None:
    made = random_fleet(1)
    fleet = replace(made, devices=[replace(d, upload_limit_bytes=0.0) for d in made.devices])
    write(tmp_path / "fleet.json", fleet)
    assert read_fleet(tmp_path / "fleet.json") == fleet
    assert limits(fleet) == [{"upload_limit_bytes": 0.0}] * len(fleet.devices)


@pytest.mark.parametrize("part", ["devices", "classes"])
@pytest.mark.parametrize("field", LIMITS)
@pytest.mark.parametrize("value", [None, -1, -1e-9, "5", True])
def test_what_is_no_limit_is_refused_in_a_line(
    part: str, field: str, value: object, tmp_path: Path
) -> None:
    path = tmp_path / "fleet.json"
    path.write_bytes(raw(random_fleet(1), part, field, value))
    with pytest.raises(InputError) as error:
        read_fleet(path)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{path}: Expected `float")
    assert f"$.{part}[0].{field}" in str(error.value).replace("[...]", "[0]")


@pytest.mark.parametrize("value", [None, -1.0, math.nan, math.inf])
def test_a_limit_is_checked_where_it_is_built(value: Any) -> None:
    fleet = random_fleet(1)
    for each in (fleet.devices[0], fleet.classes[0]):
        with pytest.raises(
            ValueError, match=r"time_limit_s is .*; expected 0 or more and finite"
        ):
            replace(each, time_limit_s=value)


def test_a_table_gives_limits_and_a_missing_cell_none(tmp_path: Path) -> None:
    fleet = table(
        tmp_path, "a,jetson-tx2,8,16,5,,120.5,", "b,jetson-tx2,8,16,0,2.5,-,NA",
        "c,jetson-tx2,8,16,,,,30",
    )  # fmt: skip
    assert limits(fleet) == [
        {"upload_limit_bytes": 5e6, "energy_limit_j": 120.5},
        {"upload_limit_bytes": 0.0, "download_limit_bytes": 2.5e6},
        {"time_limit_s": 30.0},
    ]


@pytest.mark.parametrize("suffix", [".parquet", ".json"])
def test_other_formats_say_them_too(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"devices{suffix}"
    if suffix == ".json":
        one = (
            "name='a' class='jetson-tx2' uplink-mbit-per-s=8 downlink-mbit-per-s=16 upload-mb=0"
        )
        other = {"node-id": "b", "device": "jetson-tx2", "uplink-mbit-per-s": 8,
                 "downlink-mbit-per-s": 16, "time-s": 30.5}  # fmt: skip
        path.write_text(json.dumps([one, other]))
    else:
        columns = HEADER.split(",")
        rows = [["a", "jetson-tx2", 8, 16, 0, None, None, None],
                ["b", "jetson-tx2", 8, 16, None, None, None, 30.5]]  # fmt: skip
        pd.DataFrame(rows, columns=columns).to_parquet(path)
    fleet = table_fleet(
        TableRequest(
            path=path, profiles=(), profile_paths=(), model="gpt2", training=TRAINING,
            local_steps=3, options={},
        )
    )  # fmt: skip
    assert limits(fleet) == [{"upload_limit_bytes": 0.0}, {"time_limit_s": 30.5}]


def test_the_command_counts_who_has_limits(tmp_path: Path) -> None:
    out, whole = tmp_path / "fleet.json", ["paper-80", "--devices", "8"]
    plain = CliRunner().invoke(command, [*whole, "-o", str(out), "--json"])
    assert json.loads(plain.stdout)["limited_devices"] == 0
    assert "limit_" not in out.read_text()
    first = read_fleet(out).devices[0]
    change = ("--set", f"device={first.name},upload_mb=0", "--set", "device=x,time_s=1")
    bad = CliRunner().invoke(command, [*whole, *change, "-o", str(out), "--json"])
    assert "the fleet has no device 'x'" in str(bad.exception)
    limited = CliRunner().invoke(command, [*whole, *change[:2], "-o", str(out), "--json"])
    assert json.loads(limited.stdout)["limited_devices"] == 1
    said = CliRunner().invoke(command, [*whole, *change[:2], "-o", str(out)])
    assert "1 of 8 with limits of their own" in said.stderr
    assert limits(read_fleet(out))[0] == {"upload_limit_bytes": 0.0}


def test_bad_cells_are_named_one_by_one(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        table(tmp_path, "a,jetson-tx2,8,16,-5,,,", "b,jetson-tx2,8,16,,inf,,soon")
    lines = str(error.value).splitlines()
    assert [line.partition(", ")[2] for line in lines] == [
        "row 2, column 'upload_mb': '-5'; expected a number, 0 or more",
        "row 3, column 'download_mb': 'inf'; expected a number, 0 or more and at most 1e+12",
        "row 3, column 'time_s': 'soon'; expected a number, 0 or more",
    ]


def test_frames_have_the_limits_of_classes_too() -> None:
    fleet = preset_fleet(FleetRequest(devices=6, options={}))
    name = fleet.devices[0].name
    fleet = changed(fleet, [f"class={fleet.devices[0].device_class},energy_j=40",
                            f"device={name},upload_mb=0,energy_j=30"])  # fmt: skip
    frame = devices_frame(fleet)
    assert frame.loc[name, "energy_j"] == 30
    again = fleet_from_frame(frame, training=fleet.training)
    assert limits(again) == limits(fleet)
    assert frame["time_s"].isna().all()
    assert set(LIMIT_COLUMNS) <= set(frame.columns)


def test_changes_of_a_device_a_class_and_all() -> None:
    fleet = random_fleet(3)
    own = changed(fleet, ["device=d1,upload_mb=5,time_s=20"])
    assert limits(own)[1] == {"upload_limit_bytes": 5e6, "time_limit_s": 20.0}
    assert own.devices[0] == fleet.devices[0]
    # A class's is of the class, and a later change goes before an earlier one.
    name = fleet.devices[1].device_class
    of_class = changed(own, [f"class={name},upload_mb=7"])
    assert of_class.devices[1].upload_limit_bytes is UNSET
    assert limits(of_class)[1] == {"upload_limit_bytes": 7e6, "time_limit_s": 20.0}
    assert limits(of_class)[0] == {}
    every = changed(of_class, ["all,upload_mb=1", "device=d0,upload_mb=2"])
    assert [e["upload_limit_bytes"] for e in limits(every)] == [2e6, 1e6, 1e6, 1e6]
    # None: no limit of its own; a class's is none of its own.
    assert limits(changed(every, ["device=d0,upload_mb=none"]))[0]["upload_limit_bytes"] == 1e6
    assert limits(changed(own, ["device=d1,upload_mb=None"]))[1] == {"time_limit_s": 20.0}
    assert changed(own, ["all,upload_mb=none,time_s=none"]) == fleet


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            "device=d0,upload_mb=-5",
            "upload_mb is '-5'; expected 0 or more, or none for no limit",
        ),
        ("all,time_s=nan", "time_s is 'nan'; expected 0 or more, or none for no limit"),
        ("all,energy_j=inf", "energy_j is 'inf'; expected 0 or more"),
        ("class=class-0,energy_j=much", "energy_j is 'much'; expected 0 or more"),
        ("device=d0,upload_mb=", "upload_mb is ''; expected 0 or more"),
        ("device=d0,upload_limit_bytes=5", "no field 'upload_limit_bytes'; expected one of"),
        ("link=ap,upload_mb=5", "the fleet has no link 'ap'"),
    ],
)
def test_a_change_that_is_no_limit_is_refused_in_a_line(change: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        changed(random_fleet(1), [change])
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_traces_keep_the_limits_of_devices_and_take_those_of_modes() -> None:
    fleet = preset_fleet(FleetRequest(devices=8, all_modes=True, options={}))
    first = fleet.devices[0]
    fleet = changed(
        fleet, [f"class={first.device_class},time_s=50", f"device={first.name},upload_mb=3"]
    )
    trace = generate_trace(fleet, TraceRequest(rows=12, switch_probability=0.6))
    modes = set()
    for row in range(12):
        now = fleet_at(fleet, trace, row)
        (found,) = [d for d in now.devices if d.name == first.name]
        modes.add(found.device_class)
        mine = limits(now)[[d.name for d in now.devices].index(first.name)]
        stays = found.device_class == first.device_class
        assert mine == {"upload_limit_bytes": 3e6, **({"time_limit_s": 50.0} if stays else {})}
    assert len(modes) > 1
    slow = fleet_within(fleet, trace, 0.9)
    assert slow.devices[0].upload_limit_bytes == 3e6


def test_random_fleets_with_limits_are_else_as_without() -> None:
    plain, limited = random_fleet(5, devices=20), random_fleet(5, devices=20, limited=0.5)
    assert limited == random_fleet(5, devices=20, limited=0.5)
    nothing = dict.fromkeys(LIMITS, UNSET)
    assert (
        replace(
            limited,
            devices=[replace(d, **nothing) for d in limited.devices],
            classes=[replace(c, **nothing) for c in limited.classes],
        )
        == plain
    )
    own = [any(getattr(d, f) is not UNSET for f in LIMITS) for d in limited.devices]
    assert 4 <= sum(own) <= 16
    everybody = random_fleet(5, devices=20, limited=1.0)
    assert all(limits(everybody))
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(InputError, match="expected a share of the devices, 0 to 1"):
            random_fleet(5, limited=share)
