"""Names and paths are printed as they are, also where they look like markup."""

import os
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from finetune import doctor
from finetune.cli import doctor as doctor_command
from finetune.cli.summary import show
from finetune.session.result import Summary
from profiler.check.result import Case, CheckReport
from profiler.check.show import show_check
from profiler.schema import read_profile
from profiler.show import show_profile

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
NAME = "tiny[old]"


def test_a_profile(capsys: pytest.CaptureFixture[str]) -> None:
    profile = read_profile(EXAMPLES / "profile.json")
    show_profile(replace(profile, model=replace(profile.model, name=NAME)))
    assert f"{NAME} (" in capsys.readouterr().out


def test_a_check(capsys: pytest.CaptureFixture[str]) -> None:
    figures = dict.fromkeys(Case.__struct_fields__[1:], 1.0) | {"libraries_bytes": 0.5}
    case = Case(ranks=[0, 8], **figures)
    report = CheckReport(
        model=NAME, device="here", cases=[case], scales=[1.0], busy_fraction=0.0, notes=[]
    )
    show_check(report)
    assert f"{NAME} on here" in capsys.readouterr().out


def test_the_folder_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    data = (EXAMPLES / "run.json").read_bytes()
    show(msgspec.json.decode(data, type=Summary), Path(NAME))
    assert f"{NAME}{os.sep}adapter" in capsys.readouterr().err


def test_what_the_doctor_has_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = doctor.Finding(name="model cache", state="ok", seen=NAME, needed_for="hub ids")
    monkeypatch.setattr(doctor, "examine", lambda: [seen])
    doctor_command.doctor.main([], standalone_mode=False)
    assert NAME in capsys.readouterr().out
