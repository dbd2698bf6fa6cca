"""Fleets from presets and measured profiles."""

import json
import re
import statistics
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from click.testing import CliRunner

from profiler.cli.fleet import fleet as command
from profiler.closed_form.architectures import config_digest
from profiler.closed_form.families import READERS
from profiler.configs import preset_names
from profiler.derive import derive_profile
from profiler.fleet import FleetRequest, preset_fleet
from profiler.fleet.table import LINK_OPTIONAL, LINK_REQUIRED, OPTIONAL, REQUIRED
from profiler.hardware import read_catalogue
from profiler.predict import full_depth_step_s
from profiler.schema import (
    Device,
    Fleet,
    InputError,
    Profile,
    Training,
    read_fleet,
    write,
)


def build(**request: Any) -> Fleet:
    return preset_fleet(FleetRequest(**{"options": {}, **request}))


def by_hardware(fleet: Fleet) -> dict[str, int]:
    names = [d.device_class.partition("/")[0] for d in fleet.devices]
    return {name: names.count(name) for name in dict.fromkeys(names)}


def test_paper_80_is_the_testbed() -> None:
    fleet = build()
    assert by_hardware(fleet) == {
        "jetson-tx2": 30,
        "jetson-xavier-nx": 40,
        "jetson-agx-xavier": 10,
    }
    assert fleet.model.name == "roberta-base"
    assert fleet.model.layers == 12


def test_paper_80_is_heterogeneous_in_a_sensible_way() -> None:
    fleet = build()
    step = {c.name: full_depth_step_s(c.time) for c in fleet.classes}
    assert 5 < max(step.values()) / min(step.values()) < 10
    assert step["jetson-agx-xavier/maxn"] < 0.5 * step["jetson-tx2/maxn"]
    uplinks = [d.uplink_bytes_per_s * 8e-6 for d in fleet.devices]
    assert 1 <= min(uplinks) < 2
    assert 20 < max(uplinks) <= 30
    # A round of 10 steps takes tens of seconds, and 3.5 MB weigh on the slow links.
    assert 10 < 10 * statistics.median(step.values()) < 60
    for device in fleet.devices:
        memory = {c.name: c.device.memory_bytes for c in fleet.classes}[device.device_class]
        assert 0 < device.memory_bytes < memory
        assert device.downlink_bytes_per_s >= device.uplink_bytes_per_s


def test_every_device_can_adapt_one_layer_and_not_all_can_adapt_twelve() -> None:
    fleet = build()
    memory = {c.name: c.memory for c in fleet.classes}

    def fits(depth: int) -> int:
        needs = {
            name: m.weights_bytes + m.framework_bytes + m.forward_bytes.by_depth[depth]
            for name, m in memory.items()
        }
        return sum(needs[d.device_class] <= d.memory_bytes for d in fleet.devices)

    assert fits(1) == 80
    assert 60 < fits(12) < 80


def test_a_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.json", "b.json", "c.json")]
    for path, seed in zip(paths, (3, 3, 4), strict=True):
        write(path, build(seed=seed))
    first, second, third = (path.read_bytes() for path in paths)
    assert first == second
    assert first != third


@pytest.mark.parametrize("devices", [1, 7, 81, 1000])
def test_presets_scale_to_any_number_of_devices(devices: int) -> None:
    fleet = build(devices=devices)
    assert len(fleet.devices) == devices
    for name, count in by_hardware(fleet).items():
        share = {"jetson-tx2": 30, "jetson-xavier-nx": 40, "jetson-agx-xavier": 10}[name]
        assert abs(count - devices * share / 80) <= 4
    assert {d.device_class for d in fleet.devices} == {c.name for c in fleet.classes}


def test_unknown_presets_list_the_known_ones() -> None:
    with pytest.raises(InputError, match="known: paper-80"):
        build(preset="paper-81")


def measured(model: str = "roberta-base") -> Profile:
    """A profile as a measurement would write it: on a host of its own, with its own shape."""
    profile = derive_profile(model, "laptop-cpu")
    shape = msgspec.structs.replace(
        profile.time,
        backward_s=[t * (1 + 0.1 * i) for i, t in enumerate(profile.time.backward_s)],
        error_fraction=0.02,
    )
    device = Device(name="workshop", processor="cpu", threads=2)
    return msgspec.structs.replace(profile, device=device, time=shape)


def test_a_measured_profile_lends_its_shape_and_closed_forms_the_scale() -> None:
    profile = measured()
    fleet = build(profile=profile)
    for one, derived in zip(fleet.classes, build().classes, strict=True):
        assert full_depth_step_s(one.time) == pytest.approx(full_depth_step_s(derived.time))
        ratio = one.time.embedding_s / profile.time.embedding_s
        scaled = [t * ratio for t in profile.time.backward_s]
        assert one.time.backward_s == pytest.approx(scaled)
        assert one.memory.forward_bytes == profile.memory.forward_bytes
        assert one.time.error_fraction > derived.time.error_fraction
    assert "workshop" in fleet.provenance.origins["time"].source
    assert fleet.gain == profile.gain


def test_a_profile_of_an_unknown_config_is_scaled_by_common_proportions() -> None:
    profile = measured()
    stranger = msgspec.structs.replace(profile.model, config_sha256="0" * 64)
    fleet = build(profile=msgspec.structs.replace(profile, model=stranger))
    assert "common proportions" in fleet.provenance.origins["time"].source
    for one, derived in zip(fleet.classes, build().classes, strict=True):
        assert full_depth_step_s(one.time) == pytest.approx(
            full_depth_step_s(derived.time), rel=0.01
        )


@pytest.mark.parametrize(
    ("family", "model", "task"),
    [("big_bird", "roberta-base", "classification"), ("bloom", "gpt2", "causal-lm")],
)
@pytest.mark.parametrize("given", [False, True])
def test_a_family_without_a_closed_form_is_scaled_in_common_proportions(
    tmp_path: Path,
    family: str,
    model: str,
    task: Literal["classification", "causal-lm"],
    given: bool,
) -> None:
    """A decoder as a decoder: closed forms know no encoder that foretells text."""
    config = {"model_type": family, "vocab_size": 50}
    (tmp_path / "config.json").write_text(json.dumps(config))
    profile = derive_profile(
        model, "laptop-cpu", training=Training(batch_size=16, sequence_length=128, task=task)
    )
    assert family not in READERS
    stranger = msgspec.structs.replace(
        profile.model, config_sha256=config_digest(config), family=family
    )
    profile = msgspec.structs.replace(profile, model=stranger)
    fleet = build(profile=profile, model=str(tmp_path) if given else "")
    assert len(fleet.devices) == 80
    assert "common proportions" in fleet.provenance.origins["time"].source


def test_the_model_of_another_profile_is_refused() -> None:
    with pytest.raises(InputError, match=r"its config is not the one .* give that model's"):
        build(profile=measured(), model="gpt2")


def test_training_reaches_the_costs() -> None:
    small = build(training=Training(batch_size=4, sequence_length=64))
    for a, b in zip(small.classes, build().classes, strict=True):
        assert full_depth_step_s(a.time) < full_depth_step_s(b.time)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(command, list(arguments))


def test_the_command_writes_a_fleet_and_prints_json(tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    result = run("paper-80", "--seed", "1", "--json", "-o", str(path))
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["devices"] == len(read_fleet(path).devices) == 80
    assert read_fleet(path).provenance.options["seed"] == "1"


def test_the_command_prints_a_table_for_people(tmp_path: Path) -> None:
    result = run("paper-80", "--devices", "5", "-o", str(tmp_path / "fleet.json"))
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "5 devices, roberta-base" in result.stderr


def test_one_slow_device_and_speed_are_said_plainly(tmp_path: Path) -> None:
    table = tmp_path / "devices.csv"
    table.write_text(
        "name,class,uplink_mbit_per_s,downlink_mbit_per_s\nbuoy,laptop-cpu,0.012,1\n"
    )
    slow = ("--model", "llama-3-8b", "--sequence-length", "2048")
    result = run("--from", str(table), *slow, "-o", str(tmp_path / "fleet.json"))
    assert "1 device, llama-3-8b" in result.stderr
    assert " 0.012 Mb/s" in result.stderr
    # A step of an hour, without a power of ten.
    assert re.search(r" \d{4} s ", result.stderr)
    assert " to " not in result.stderr


def test_the_help_lists_what_may_be_planned_for() -> None:
    shown = run("--help").stdout
    assert [name for name in preset_names() if name not in shown] == []
    assert [row for row in read_catalogue() if row.id not in shown] == []
    assert "None" not in shown


def test_what_goes_to_a_file_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No name is cut to fit a screen that is not there, nor read as markup."""
    monkeypatch.setenv("COLUMNS", "40")
    path = tmp_path / f"{'long-' * 20}[bold].json"
    result = run("paper-80", "--devices", "40", "-o", str(path))
    assert result.exit_code == 0
    assert f"wrote {path}\n" in result.stderr
    assert "…" not in result.stderr
    assert "│ jetson-xavier-nx/10w-desktop │" in result.stderr
    for made in read_fleet(path).classes:
        assert f"│ {made.name} " in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("paper-80", "--from", "devices.csv"),
        ("paper-80", "--devices", "0"),
        ("paper-80", "--batch-size", "-1"),
        ("paper-80", "--task", "poetry"),
        ("paper-80", "--storage-gb", "nan"),
        ("paper-80", "--storage-gb", "inf"),
        ("paper-80", "--sites", "2"),
        ("paper-80", "--trace", "t.json", "--interval-s", "nan"),
        ("paper-80", "--trace", "t.json", "--interval-s", "inf"),
        ("paper-80", "--trace", "t.json", "--switch-probability", "nan"),
        ("--at", "nan", "--fleet", "fleet.json", "--trace", "t.json"),
        ("paper-80", "--profile", "a.json", "--profile", "b.json"),
        ("paper-80", "--profile", "a.json", "--batch-size", "4"),
        ("--from", "devices.csv", "--devices", "3"),
        ("--fleet", "fleet.json"),
        ("--fleet", "fleet.json", "--set", "all,memory_gb=4", "--local-steps", "5"),
        ("--from", "devices.csv", "--profile", "a.json", "--model", "gpt2"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_an_output_that_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    path = tmp_path / "fleet.json"
    for arguments in (("-o", str(tmp_path)), ("-o", str(path), "--trace", "no/such/t.json")):
        done = run("paper-80", *arguments)
        assert isinstance(done.exception, InputError)
        assert not path.exists()


def test_the_help_lists_every_column() -> None:
    text = run("--help").output.partition("Columns of --from")[2]
    devices, _, links = text.partition("Columns of --links:")
    listed = devices.partition("and are then):")[2]
    first = [line.split()[0] for line in listed.splitlines() if line.strip()]
    assert first == [*REQUIRED, *(f"[{name}]" for name in OPTIONAL)]
    said = links.partition("Devices of")[0].split()
    assert set(said) == {*LINK_REQUIRED, *(f"[{name}]" for name in LINK_OPTIONAL)}


def test_a_change_is_written_with_the_fleet_and_said_in_it(tmp_path: Path) -> None:
    base, after, again = (str(tmp_path / f"{n}.json") for n in ("base", "after", "again"))
    change = "class=jetson-tx2/maxq,power_w=9"
    assert run("paper-80", "-o", base).exit_code == 0
    assert run("--fleet", base, "--set", change, "-o", after).exit_code == 0
    assert run("paper-80", "--set", change, "-o", again).exit_code == 0
    made = read_fleet(Path(after))
    draws = {c.name: c.device.power_w for c in made.classes}
    assert draws["jetson-tx2/maxq"] == 9
    assert draws["jetson-tx2/maxn"] != 9
    assert made.provenance.options["set"] == change
    assert "set" in made.provenance.origins
    assert made.provenance.inputs[0].name == "base.json"
    assert read_fleet(Path(again)).classes == made.classes
