"""Reading and writing files: whole or not at all, and one line that says what was seen."""

import json
from pathlib import Path

import pytest

from profiler.schema import Fleet, InputError, read_fleet, write
from tests.solver.instances import random_fleet


@pytest.fixture
def fleet_path(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.json"
    write(path, random_fleet(3))
    return path


def test_a_file_reads_back_as_it_was_written(fleet_path: Path) -> None:
    assert read_fleet(fleet_path) == random_fleet(3)


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
    fleet_path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=said) as caught:
        read_fleet(fleet_path)
    assert "\n" not in str(caught.value)
    assert "legend fleet" in str(caught.value)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write(path, random_fleet(3))
    assert [p.name for p in tmp_path.iterdir()] == ["kept.json"]


def test_a_fleet_is_closed_and_frozen() -> None:
    with pytest.raises(AttributeError):
        random_fleet(3).devices = []  # type: ignore[misc]
    assert Fleet.__struct_config__.forbid_unknown_fields
