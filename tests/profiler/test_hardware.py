"""The hardware catalogue: complete, sourced, sane."""

import pytest

from profiler.hardware import Hardware, find_hardware, parse_row, read_catalogue
from profiler.schema import InputError

WANTED = {
    "jetson-tx2": 3,
    "jetson-xavier-nx": 4,
    "jetson-agx-xavier": 4,
    "jetson-orin-nano": 2,
    "jetson-orin-nx": 4,
    "jetson-agx-orin": 4,
    "phone-snapdragon-8-gen-2": 1,
    "phone-tensor-g3": 1,
    "laptop-cpu": 1,
    "a100": 1,
    "h100": 1,
}


def test_the_catalogue_has_the_devices_and_modes() -> None:
    modes = [h.id for h in read_catalogue()]
    assert {name: modes.count(name) for name in WANTED} == WANTED
    labels = [h.label for h in read_catalogue()]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("row", read_catalogue(), ids=lambda h: h.label)
def test_figures_are_sane_and_sourced(row: Hardware) -> None:
    assert 1e11 < row.fp32_flop_per_s < 1e14
    assert row.fp16_flop_per_s == 0 or row.fp16_flop_per_s >= row.fp32_flop_per_s
    assert 2e10 < row.bandwidth_bytes_per_s < 5e12
    assert 4e9 < row.memory_bytes < 1e11
    assert 0 < row.framework_bytes < row.memory_bytes / 2
    assert 2 < row.power_w < 1000
    assert 0 < row.half_efficiency < 1
    assert 0 < row.fp32_efficiency < 1
    assert 0.1 < row.error_fraction <= 0.5
    assert 1e-6 < row.kernel_launch_s < 1e-4
    assert (row.threads > 0) == (row.processor == "cpu")
    assert all(len(source) > 10 for source in row.sources.split("; "))
    assert "http" not in row.sources


def test_slower_modes_of_a_device_draw_less() -> None:
    for name in WANTED:
        rows = [h for h in read_catalogue() if h.id == name]
        assert rows[0].fp32_flop_per_s == max(h.fp32_flop_per_s for h in rows)
        assert rows[0].power_w == max(h.power_w for h in rows)


def test_devices_are_found_by_id_and_mode() -> None:
    assert find_hardware("jetson-tx2").mode == "maxn"
    assert find_hardware("jetson-tx2/maxq") == find_hardware("jetson-tx2", "maxq")


@pytest.mark.parametrize(
    ("name", "mode", "words"),
    [
        ("jetson-tx3", None, "known: jetson-tx2, jetson-xavier-nx"),
        ("jetson-tx2", "turbo", "no mode 'turbo'; known: maxn, maxp, maxq"),
        ("jetson-tx2/turbo", None, "no mode 'turbo'"),
        ("", None, "not in the catalogue"),
    ],
)
def test_unknown_devices_list_the_known_ones(name: str, mode: str | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        find_hardware(name, mode)


@pytest.mark.parametrize("cell", ["nan", "-1", "inf", "fast", ""])
def test_a_bad_cell_is_named(cell: str) -> None:
    good = read_catalogue()[0]
    row = {name: str(getattr(good, name)) for name in Hardware.__slots__}
    assert parse_row(row, 2) == good
    with pytest.raises(InputError, match="line 7: power_w is"):
        parse_row({**row, "power_w": cell}, 7)
