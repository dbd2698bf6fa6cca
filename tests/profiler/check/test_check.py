"""A profile is checked against what runs here, and mistakes are one line."""

import dataclasses
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from profiler.check import run as check_run
from profiler.check.picture import draw_check
from profiler.check.result import QUANTITIES, Case, CheckReport
from profiler.check.show import ranks_text, show_check
from profiler.cli.profile import profile as command
from profiler.derive import derive_profile
from profiler.schema import InputError, Profile, read_profile, write
from tests.profiler.conftest import Measured


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, list(map(str, arguments)))


@pytest.fixture
def made(measured: Measured) -> Profile:
    return read_profile(measured.path)


def test_a_check_runs_what_no_fit_has_seen(
    measured: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "check.svg"
    # A process of its own each: as many as are watched at a time, and one more.
    effort = dataclasses.replace(check_run.QUICK_CHECK, cases=check_run.TOGETHER + 1)
    monkeypatch.setattr(check_run, "QUICK_CHECK", effort)
    given = (measured.folder, "--check", measured.path, "--quick", "--json")
    result = run(*given, "--picture", picture)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert len(found["cases"]) == effort.cases
    assert set(found["errors"]) == set(QUANTITIES)
    # Counted bytes are exact in a model this small, however busy the machine is.
    assert found["errors"]["tensors"]["worst_fraction"] < 0.01
    for case in found["cases"]:
        assert case["resident_bytes"] > case["libraries_bytes"] > 50e6
        assert case["measured_s"] > 0
    assert len(found["scales"]) == 2
    assert picture.read_text().startswith("<?xml")
    assert not psutil.Process().children()


def case(predicted: float, measured_s: float, *, bytes_off: float = 0.0) -> Case:
    return Case(
        ranks=[0, 4, 8],
        predicted_s=predicted,
        rescaled_s=measured_s,
        measured_s=measured_s,
        noise_fraction=0.01,
        affine_bytes=100.0,
        exact_bytes=100.0,
        predicted_bytes=600.0 + bytes_off,
        resident_bytes=600.0,
        libraries_bytes=400.0,
    )


def report(*cases: Case) -> CheckReport:
    return CheckReport(
        model="m", device="d", cases=list(cases), scales=[1.0, 1.1], busy_fraction=0.0, notes=[]
    )


def test_errors_are_relative_and_signed() -> None:
    found = report(case(1.1, 1.0), case(0.98, 1.0, bytes_off=-20.0))
    summary = found.summary("time")
    assert summary.mape_fraction == pytest.approx(0.06)
    assert summary.worst_fraction == pytest.approx(0.1)
    assert found.summary("time_rescaled").worst_fraction == 0
    assert found.summary("tensors").worst_fraction == 0
    # 20 bytes of a growth by 200.
    assert found.summary("growth").worst_fraction == pytest.approx(0.1)
    assert QUANTITIES["growth"].error_fraction(found.cases[1]) == pytest.approx(-0.1)
    assert found.noise_fraction == pytest.approx(0.01)
    assert json.loads(msgspec.json.encode(found.record()))["errors"]["time"]


def test_the_table_shows_cases_errors_and_notes(capsys: pytest.CaptureFixture[str]) -> None:
    noted = msgspec.structs.replace(report(case(1.1, 1.0)), notes=["the machine was busy"])
    show_check(noted)
    shown = capsys.readouterr().out
    assert "2: 4 8" in shown
    assert "+10.00%" in shown
    assert "growth of the process" in shown
    assert "noise floor of measured times 1.00%" in shown
    assert "note: the machine was busy" in shown


@pytest.mark.parametrize(
    ("ranks", "text"),
    [
        ([0, 0, 8], "1: 8"),
        ([8, 8, 8], "3: 8 each"),
        ([0, 1, 2], "2: 1 2"),
        ([0, 1, 2, 3, 4, 5, 6, 7], "7: 1 2 3 … 6 7"),
    ],
)
def test_long_rank_lists_are_abridged(ranks: list[int], text: str) -> None:
    assert ranks_text(ranks) == text


def test_a_picture_is_the_same_bytes_again(tmp_path: Path) -> None:
    found = report(case(1.1, 1.0), case(0.98, 1.0, bytes_off=-20.0))
    for name in ("a.svg", "b.svg", "c.png"):
        draw_check(found, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    ET.parse(tmp_path / "a.svg")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="cannot be written"):
        draw_check(found, tmp_path / "absent" / "a.svg")


def other_device(made: Profile) -> Profile:
    return replace(made, device=replace(made.device, name="elsewhere"))


def other_model(made: Profile) -> Profile:
    return replace(made, model=replace(made.model, config_sha256="0" * 64))


@pytest.mark.parametrize(
    ("change", "line"),
    [(other_device, "for the device 'elsewhere'"), (other_model, "for another model")],
)
def test_a_profile_of_something_else_is_refused(
    measured: Measured, made: Profile, change: Any, line: str, tmp_path: Path
) -> None:
    path = tmp_path / "p.json"
    write(path, change(made))
    result = run(measured.folder, "--check", path)
    assert isinstance(result.exception, InputError)
    assert line in str(result.exception)
    assert "\n" not in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--batch-size", 4], "batch_size is 2 there, --batch-size says 4"),
        (["--targets", "q"], "leave --targets out"),
        (["--threads", 3], "threads is 1 there"),
        (["-o", "q.json"], "leave out -o"),
        (["--derive"], "leave out --derive"),
        (["--picture", "a.pdf"], "expected .svg or .png"),
        (["--picture", "no/such/a.svg"], "no folder"),
    ],
)
def test_options_that_contradict_are_one_line(
    arguments: list[object],
    line: str,
    made: Profile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("p.json"), made)
    result = run("absent", "--check", "p.json", *arguments)
    assert isinstance(result.exception, InputError)
    assert line in str(result.exception)
    assert "\n" not in str(result.exception)
    assert [p.name for p in tmp_path.iterdir()] == ["p.json"]


def test_repeating_what_the_profile_says_is_no_contradiction(
    measured: Measured, tmp_path: Path
) -> None:
    path = measured.path
    result = run(tmp_path / "absent", "--check", path, "--batch-size", 2, "--threads", 1)
    assert "neither a folder nor a model" in str(result.exception)


def test_a_derived_profile_remembers_its_options(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    given = ("--derive", "--hardware", "jetson-tx2", "--batch-size", 4, "-o", path)
    assert run("roberta-base", *given).exit_code == 0
    made = read_profile(path)
    assert made.training.sequence_length == 128
    assert made.provenance.options == {"hardware": "jetson-tx2", "batch_size": "4"}
    assert derive_profile("roberta-base").provenance.options == {}


def test_framework_bytes_are_calibrated_and_say_so(made: Profile) -> None:
    options = made.provenance.options
    assert options["memory_calibration_ranks"] == "0 0 8"
    libraries, offset = (int(options[f"memory_{n}_bytes"]) for n in ("libraries", "offset"))
    assert libraries + offset == made.memory.framework_bytes
    assert 0 < offset < 200e6 < libraries
    assert made.provenance.origins["memory.framework_bytes"].kind == "measured"
