"""Fleets from tables: good ones, and every kind of bad cell."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from profiler.cli.fleet import fleet as command
from profiler.derive import derive_profile
from profiler.fleet.files import TableRequest, table_fleet
from profiler.fleet.table import devices_of, read_rows
from profiler.schema import Device, Fleet, InputError, Profile, Training, read_fleet, write

HEADER = "name,class,uplink_mbit_per_s,downlink_mbit_per_s"
TRAINING = Training(batch_size=8, sequence_length=64)


def profile(device: str, mode: str = "default") -> Profile:
    made = derive_profile("distilbert-base-uncased", "laptop-cpu", None, TRAINING)
    return msgspec.structs.replace(made, device=Device(name=device, mode=mode))


def table(path: Path, *lines: str) -> Path:
    file = path / "devices.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def build(file: Path, *profiles: Profile, **request: Any) -> Fleet:
    paths = [file.parent / f"{p.device.name}-{p.device.mode}.json" for p in profiles]
    for path, one in zip(paths, profiles, strict=True):
        write(path, one)
    fields = {"model": "", "training": TRAINING, "local_steps": 5, "options": {}, **request}
    return table_fleet(
        TableRequest(path=file, profiles=profiles, profile_paths=paths, **fields)
    )


def test_a_table_and_profiles_make_a_fleet(tmp_path: Path) -> None:
    file = table(
        tmp_path,
        f"{HEADER},latency_s,examples,local_steps,memory_gb,count,time_scale,storage_gb",
        "a,slow,8,16,0.1,200,3,2.5,4,1.5,0.5",
        "b,fast/hot,1.5,2,,,,,,,",
    )
    fleet = build(file, profile("slow"), profile("fast", "hot"), profile("unused"))
    first, second = fleet.devices
    assert first.uplink_bytes_per_s == 1e6
    assert first.downlink_bytes_per_s == 2e6
    assert (first.latency_s, first.examples, first.local_steps) == (0.1, 200, 3)
    assert (first.memory_bytes, first.count, first.time_scale) == (2.5e9, 4, 1.5)
    assert (first.storage_bytes, second.storage_bytes) == (500_000_000, 0)
    assert (second.device_class, second.local_steps) == ("fast/hot", 5)
    assert [c.name for c in fleet.classes] == ["slow/default", "fast/hot"]
    assert len(fleet.provenance.inputs) == 4


def test_a_table_alone_takes_its_classes_from_the_catalogue(tmp_path: Path) -> None:
    file = table(tmp_path, HEADER, "a,jetson-tx2,8,8", "b,jetson-tx2/maxq,8,8", "c,h100,9,9")
    fleet = build(file, model="gpt2")
    assert fleet.model.name == "gpt2"
    assert [d.device_class for d in fleet.devices] == [
        "jetson-tx2/maxn",
        "jetson-tx2/maxq",
        "h100/default",
    ]
    assert fleet.devices[0].memory_bytes == fleet.classes[0].device.memory_bytes


def test_the_catalogue_is_listed_where_a_class_is_unknown(tmp_path: Path) -> None:
    file = table(tmp_path, HEADER, "a,jetson-tx2,8,8", "b,jetson-tx9,8,8")
    with pytest.raises(InputError, match=r"row 3, column 'class': 'jetson-tx9'.*orin-nano"):
        build(file)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (",slow,1,1", "row 2, column 'name': ''; expected a name"),
        ("a,quick,1,1", "column 'class': 'quick'; expected one of slow"),
        ("a,slow,0,1", "column 'uplink_mbit_per_s': '0'; expected a number, above 0"),
        ("a,slow,-3,1", "column 'uplink_mbit_per_s': '-3'"),
        ("a,slow,nan,1", "column 'uplink_mbit_per_s': 'nan'"),
        ("a,slow,1,inf", "column 'downlink_mbit_per_s': 'inf'"),
        ("a,slow,1,1e300", "column 'downlink_mbit_per_s': '1e300'"),
        ("a,slow,fast,1", "column 'uplink_mbit_per_s': 'fast'"),
        ("a,slow,1", "column 'downlink_mbit_per_s': ''"),
        ("a,slow,1,1,-0.1", "column 'latency_s': '-0.1'; expected a number, 0 or more"),
        (
            "a,slow,1,1,1e30",
            "row 2, column 'latency_s': '1e30'; expected a number, 0 or more and at most 1e+12",
        ),
        ("a,slow,1,1,0,1.5", "column 'examples': '1.5'; expected a whole number, above 0"),
        ("a,slow,1,1,0,0", "column 'examples': '0'"),
        ("a,slow,1,1,0,1,extra", "row 2: 'extra'; expected no more cells"),
    ],
)
def test_a_bad_cell_is_named_by_row_and_column(tmp_path: Path, row: str, words: str) -> None:
    file = table(tmp_path, f"{HEADER},latency_s,examples", row)
    with pytest.raises(InputError) as caught:
        build(file, profile("slow"))
    assert words in str(caught.value)


def test_every_bad_cell_gets_a_line(tmp_path: Path) -> None:
    file = table(tmp_path, HEADER, "a,slow,0,0", "a,slow,1,1", "c,none,1,x")
    with pytest.raises(InputError) as caught:
        build(file, profile("slow"))
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    assert "another name than row 2" in lines[2]


def test_what_many_rows_say_is_said_once_with_what_was_meant(tmp_path: Path) -> None:
    rows = [f"d{i},Jetson-TX2/MaxQ,8,8" for i in range(40)]
    file = table(tmp_path, HEADER, "a,Laptop CPU,8,8", *rows)
    with pytest.raises(InputError) as caught:
        build(file)
    first, second = str(caught.value).splitlines()
    assert "row 2, column 'class': 'Laptop CPU'" in first
    assert first.endswith("(/mode) (laptop-cpu?)")
    assert "rows 3, 4, 5 and 37 more, column 'class'" in second
    assert second.endswith("(jetson-tx2/maxq?)")


def test_a_long_list_of_bad_cells_is_cut(tmp_path: Path) -> None:
    file = table(tmp_path, HEADER, *(f"d{i},slow,-{i},1" for i in range(50)))
    with pytest.raises(InputError, match="and 30 more"):
        build(file, profile("slow"))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((), "columns are nothing"),
        (("name,class",), "columns are name, class; expected name, class, uplink"),
        ((HEADER + ",colour",), "columns are .*: colour is none of them$"),
        ((HEADER.replace("uplink_mbit_per_s", "Uplink"),), r"uplink is none of them \(uplink_"),
        ((HEADER.replace("name", "Device Name"),), r"device name is none of them \(name\?\)"),
        ((HEADER + ",memory_gib",), r"each once: memory_gib is none of them \(memory_gb\?\)"),
        ((HEADER.replace("class", "kind"),), "each once: class is missing, kind is none"),
        ((HEADER + ",name",), "each once"),
        ((HEADER,), "no devices"),
        ((HEADER, 'a,"slow,1,1'), "is not CSV"),
    ],
)
def test_a_bad_table_is_named(tmp_path: Path, lines: tuple[str, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        devices_of(read_rows(table(tmp_path, *lines)), "table", {}, 1)


def test_a_table_of_other_bytes_is_named(tmp_path: Path) -> None:
    file = tmp_path / "devices.csv"
    file.write_bytes(b"name\xff\xfe")
    with pytest.raises(InputError, match=r"is not UTF-8 .*; save it as CSV \(UTF-8\)"):
        read_rows(file)
    with pytest.raises(InputError, match="no such file"):
        read_rows(tmp_path / "none.csv")


def test_profiles_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    file = table(tmp_path, HEADER, "a,slow,1,1")
    other = derive_profile("gpt2", "h100", None, TRAINING)
    with pytest.raises(InputError, match="its model differs"):
        build(file, profile("slow"), other)
    with pytest.raises(InputError, match="two profiles are of device 'slow/default'"):
        build(file, profile("slow"), profile("slow"))


def test_a_device_in_two_modes_needs_its_mode(tmp_path: Path) -> None:
    file = table(tmp_path, HEADER, "a,slow,1,1")
    with pytest.raises(InputError, match="expected one of slow/default, slow/eco"):
        build(file, profile("slow"), profile("slow", "eco"))


def test_the_command_reads_tables(tmp_path: Path) -> None:
    file = table(tmp_path, HEADER, "a,slow,8,16")
    write(tmp_path / "slow.json", profile("slow"))
    out = tmp_path / "fleet.json"
    arguments = ["--from", str(file), "--profile", str(tmp_path / "slow.json"), "-o", str(out)]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert read_fleet(out).devices[0].device_class == "slow/default"


def test_blank_rows_are_no_rows_and_the_others_keep_their_numbers(tmp_path: Path) -> None:
    fleet = build(
        table(tmp_path, HEADER, "", "a,slow,1,1", ",,,", " , ,,", "b,slow,1,1", ""),
        profile("slow"),
    )
    assert [d.name for d in fleet.devices] == ["a", "b"]
    with pytest.raises(InputError, match=r"row 4, column 'class'"):
        build(table(tmp_path, HEADER, "", "a,slow,1,1", "b,gone,1,1"), profile("slow"))
    with pytest.raises(InputError, match="no devices"):
        build(table(tmp_path, HEADER, "", ",,,"), profile("slow"))


@pytest.mark.parametrize(
    ("mark", "number", "missing"), [(",", "2.5", "NA"), ("\t", "2.5", "-"), (";", "2,5", "n/a")]
)
def test_tables_are_read_as_spreadsheets_save_them(
    tmp_path: Path, mark: str, number: str, missing: str
) -> None:
    columns = f"{HEADER},memory_gb".title().split(",")
    lines = (columns, ["a", "slow", number, "6", missing], ["b,1", "slow", "8", "20", "1"])
    rows = [mark.join(f'"{cell}"' for cell in row) for row in lines]
    first, second = build(table(tmp_path, *rows), profile("slow")).devices
    assert first.uplink_bytes_per_s == 2.5e6 / 8
    assert first.memory_bytes == profile("slow").device.memory_bytes
    assert (second.name, second.memory_bytes) == ("b,1", 10**9)


def test_a_workbook_is_to_be_saved_as_csv(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is a workbook; .* save it as CSV"):
        read_rows(tmp_path / "devices.xlsx")
