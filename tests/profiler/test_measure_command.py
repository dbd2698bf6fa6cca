"""The `legend profile` command."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from profiler.cli.profile import profile
from profiler.derive import derive_profile
from profiler.schema import InputError, read_profile
from profiler.show import show_profile
from tests.profiler.conftest import Measured


def run(*arguments: str) -> Result:
    return CliRunner().invoke(profile, list(arguments))


def test_json_is_all_there_is_on_stdout(measured: Measured) -> None:
    figures, made = json.loads(measured.stdout), read_profile(measured.path)
    assert made.device.power_w == 7.5
    assert figures["layers"] == made.model.layers
    assert len(figures["step_s_by_depth"]) == made.model.layers + 1
    assert figures["peak_bytes_by_depth"] == sorted(figures["peak_bytes_by_depth"])


def test_the_table_names_layers_and_totals(capsys: pytest.CaptureFixture[str]) -> None:
    show_profile(derive_profile("roberta-base", "jetson-tx2"))
    shown = capsys.readouterr().out
    assert "roberta-base (roberta, 12 layers" in shown
    assert "1-11, each" in shown
    assert "a step takes" in shown
    assert "weights" in shown


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["absent", "-o", "p.json"], "neither a folder nor a model"),
        (["absent", "-o", "no/such/p.json"], "no folder"),
        (["absent", "-o", "p.json", "--hardware", "x"], "add --derive"),
        (["absent", "-o", "p.json", "--derive"], "needs --hardware"),
        (
            ["absent", "-o", "p.json", "--into", "q.json", "--power-w", "3"],
            "--power-w says how",
        ),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert isinstance(result.exception, InputError)
    assert line in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not list(tmp_path.iterdir())
