"""Reading and writing files: whole or not at all, and one line that says what was seen."""

import json
import os
from pathlib import Path

import pytest

from profiler.schema import (
    Fleet,
    InputError,
    check_writable,
    read_fleet,
    write,
    write_bytes,
)
from tests.solver.instances import random_fleet


@pytest.fixture
def fleet_path(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.json"
    write(path, random_fleet(3))
    return path


def test_a_file_reads_back_as_it_was_written(fleet_path: Path) -> None:
    assert read_fleet(fleet_path) == random_fleet(3)
    # As whoever works in a notebook names a file.
    write(f"{fleet_path}.2", read_fleet(str(fleet_path)))
    assert Path(f"{fleet_path}.2").read_bytes() == fleet_path.read_bytes()


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("model", "layers"), 0, r">= 1 - at `\$.model.layers`, seen 0"),
        (("devices", 1, "examples"), "many", r"`\$.devices\[1\].examples`, seen 'many'"),
        (("devices", 0, "uplink_bytes_per_s"), -1, "'d0': uplink_bytes_per_s is -1.0"),
        (("classes", 0, "time", "forward_s"), [], "forward_s has 0 entries; expected 3"),
        (("devices", 0, "device_class"), "x", "class 'x' is not in the fleet"),
        (("devices", 0, "name"), "d1", "device 'd1' appears twice"),
        (("gain", "by_layer", 0, 0), 99.0, "falls with the rank"),
        (("surprise",), 1, "unknown field `surprise`"),
        (("devices", 0, "latency_s"), "1e400", "out of range"),
    ],
)
def test_says_what_was_seen_and_expected(
    fleet_path: Path, keys: tuple[str | int, ...], value: object, said: str
) -> None:
    content = json.loads(fleet_path.read_text())
    place = content
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    # The number, which is larger than any that Python writes.
    fleet_path.write_text(json.dumps(content).replace('"1e400"', "1e400"))
    with pytest.raises(InputError, match=said) as caught:
        read_fleet(fleet_path)
    assert "\n" not in str(caught.value)
    assert "legend fleet" in str(caught.value)


@pytest.mark.parametrize("bad", [b"d0\x8b", b"d\\ud800", b'd", "x": ' + b"[" * 5000])
def test_what_is_no_json_in_a_field_further_on_is_bad_input(
    fleet_path: Path, bad: bytes
) -> None:
    fleet_path.write_bytes(fleet_path.read_bytes().replace(b"d0", bad, 1))
    with pytest.raises(InputError, match=r"fleet\.json: ") as caught:
        read_fleet(fleet_path)
    assert "\n" not in str(caught.value)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write(path, random_fleet(3))
    assert [p.name for p in tmp_path.iterdir()] == ["kept.json"]


def test_an_interrupted_write_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept.json"
    path.write_bytes(b"old")

    def stop(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(path, b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("kept.json", b"old")]


def test_a_fleet_is_closed_and_frozen() -> None:
    with pytest.raises(AttributeError):
        random_fleet(3).devices = []  # type: ignore[misc]
    assert Fleet.__struct_config__.forbid_unknown_fields


def test_a_link_stays_a_link_and_a_pipe_a_pipe(tmp_path: Path) -> None:
    """What is no plain file is written to: replaced by one, a device would be gone for all."""
    target, link, pipe = (tmp_path / name for name in ("target", "link", "pipe"))
    link.symlink_to(target)
    for text in (b"first", b"second"):
        write_bytes(link, text)
        assert link.is_symlink()
        assert target.read_bytes() == text
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        check_writable(pipe)
        write_bytes(pipe, b"through")
        assert os.read(reader, 100) == b"through"
        assert pipe.is_fifo()
    finally:
        os.close(reader)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "pipe", "target"]


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    check_writable(tmp_path / "new.json")
    (tmp_path / "old.json").write_text("")
    check_writable(tmp_path / "old.json")
    for path, said in (
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "x.json", "no folder"),
        (tmp_path / "old.json" / "x.json", "no folder"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            check_writable(path)
        assert str(path) in str(caught.value)


def test_a_folder_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tests may run as root, who may write everywhere.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="Permission denied"):
        check_writable(tmp_path / "x.json")


@pytest.mark.parametrize("data", [b"", b" \n", b"name,class\n"])
def test_what_is_no_json_says_what_makes_it(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "fleet.json"
    path.write_bytes(data)
    with pytest.raises(InputError, match="legend fleet") as caught:
        read_fleet(path)
    assert ("is empty" in str(caught.value)) == (not data.strip())
