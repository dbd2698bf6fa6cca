"""Fleets from and to pandas."""

import pandas as pd
import pytest
from msgspec.structs import replace

from profiler.fleet import FleetRequest, preset_fleet
from profiler.fleet.devices import STORAGE_BYTES
from profiler.fleet.frame import devices_frame, fleet_from_frame, links_frame
from profiler.schema import InputError, Training

TRAINING = Training(batch_size=8, sequence_length=64)
LINK = ("uplink_mbit_per_s", "downlink_mbit_per_s")
COLUMNS = ["name", "class", *LINK]


def frame(*rows: tuple[object, ...], extra: tuple[str, ...] = ()) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=[*COLUMNS, *extra])


def test_missing_values_take_the_defaults() -> None:
    given = frame(
        ("a", "jetson-tx2", 8, 16, 3, None, 2.5),
        ("b", "jetson-tx2/maxq", 1.5, 2, None, 0.5, None),
        extra=("count", "storage_gb", "memory_gb"),
    )
    fleet = fleet_from_frame(given, model="gpt2", training=TRAINING, storage_bytes=7)
    first, second = fleet.devices
    assert (first.uplink_bytes_per_s, first.count, first.storage_bytes) == (1e6, 3, 7)
    assert (second.count, second.storage_bytes, second.local_steps) == (1, 500_000_000, 10)
    assert first.memory_bytes == 2.5e9
    assert second.memory_bytes == fleet.classes[1].device.memory_bytes


def test_the_name_that_the_module_had_before_still_imports() -> None:
    import profiler.fleet_frame as before

    assert before.fleet_from_frame is fleet_from_frame
    assert before.devices_frame is devices_frame
    assert before.links_frame is links_frame


def test_there_and_back() -> None:
    fleet = preset_fleet(FleetRequest(devices=12, options={}))
    again = fleet_from_frame(devices_frame(fleet), training=fleet.training)
    for one, other in zip(fleet.devices, again.devices, strict=True):
        near = {
            name: pytest.approx(getattr(one, name), rel=1e-12)
            for name in ("uplink_bytes_per_s", "downlink_bytes_per_s")
        }
        assert other == replace(one, **{name: getattr(other, name) for name in near})
        assert all(getattr(other, name) == value for name, value in near.items())
    assert {c.name for c in again.classes} == {c.name for c in fleet.classes}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (frame(("a", "jetson-tx9", 1, 1)), "frame, row 2, column 'class': 'jetson-tx9'"),
        (frame(("a", "jetson-tx2", None, 1)), "frame, row 2, column 'uplink_mbit_per_s': ''"),
        (
            frame(("a", "jetson-tx2", 1, 1, -1), extra=("storage_gb",)),
            "column 'storage_gb': '-1'; expected a number, 0 or more",
        ),
        (frame(("a", "jetson-tx2", 1, 1), ("a", "jetson-tx2", 1, 1)), "another name"),
        (frame(("a", "jetson-tx2", 1, 1, 1), extra=("speed",)), "columns are"),
        (frame(), "no devices"),
    ],
)
def test_bad_cells_are_named(given: pd.DataFrame, words: str) -> None:
    with pytest.raises(InputError) as error:
        fleet_from_frame(given, training=TRAINING)
    assert words in str(error.value)


def test_presets_have_storage_and_say_how_much() -> None:
    fleet = preset_fleet(FleetRequest(devices=3, options={}))
    assert {d.storage_bytes for d in fleet.devices} == {STORAGE_BYTES}
    assert "4 GB" in fleet.provenance.origins["devices"].source
    none = preset_fleet(FleetRequest(devices=3, storage_bytes=0, options={}))
    assert {d.storage_bytes for d in none.devices} == {0}


def test_shared_links_come_from_a_frame_and_go_into_one() -> None:
    fleet = preset_fleet(FleetRequest(devices=6, access_points=2, sites=1, options={}))
    again = fleet_from_frame(
        devices_frame(fleet), links=links_frame(fleet), training=fleet.training
    )
    assert [d.link for d in again.devices] == [d.link for d in fleet.devices]
    assert [(k.name, k.parent) for k in again.links] == [
        (k.name, k.parent) for k in fleet.links
    ]
    assert links_frame(again).equals(links_frame(fleet))
    alone = preset_fleet(FleetRequest(devices=6, options={}))
    none = links_frame(alone)
    assert fleet_from_frame(devices_frame(alone), links=none).links == []


def test_a_link_of_no_frame_and_a_bad_row_of_one_are_named() -> None:
    behind = frame(("a", "jetson-tx2", 1, 1, "ap"), extra=("link",))
    with pytest.raises(InputError, match="device 'a' is behind link 'ap'; expected a table"):
        fleet_from_frame(behind)
    links = pd.DataFrame({"name": ["ap"], LINK[0]: [0], LINK[1]: [5]})
    with pytest.raises(InputError, match="frame of links, row 2, column 'uplink_mbit_per_s'"):
        fleet_from_frame(behind, links=links)
