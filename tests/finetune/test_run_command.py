"""`legend run` as a person meets it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from finetune.cli.run import run as run_command
from solver.plan import InputError
from tests.finetune.conftest import MakeInputs
from tests.finetune.fleets import make_fleet, plan_for, switching, write_all
from tests.finetune.playing import arguments


def test_json_is_the_summary_and_nothing_else(inputs: MakeInputs, tmp_path: Path) -> None:
    given = inputs()
    result = CliRunner().invoke(
        run_command, arguments(given, tmp_path / "run", "--json"), catch_exceptions=False
    )
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json.loads((tmp_path / "run/summary.json").read_text())
    assert "round 2/2" in result.stderr


def test_without_json_a_table_goes_to_stderr(inputs: MakeInputs, tmp_path: Path) -> None:
    given = inputs()
    result = CliRunner().invoke(
        run_command,
        arguments(given, tmp_path / "run", "--partition", "natural:critic", "--clip-norm", "1"),
        catch_exceptions=False,
    )
    assert result.stdout == ""
    assert "test accuracy" in result.stderr
    # A small adapter's bytes are not rounded away.
    sent = json.loads((tmp_path / "run/summary.json").read_text())["upload_bytes"]
    assert f"{sent / 1e3:.3g} kB" in result.stderr


def test_bad_options_are_one_line(inputs: MakeInputs, tmp_path: Path) -> None:
    given = inputs()
    for option, value in (("--rounds", "0"), ("--partition", "mine"), ("--alpha", "nan")):
        with pytest.raises(
            InputError, match=f"{option} is {value}|{option} is '{value}'"
        ) as raised:
            CliRunner().invoke(
                run_command,
                arguments(given, tmp_path / "run", option, value),
                catch_exceptions=False,
            )
        assert "\n" not in str(raised.value)


def test_a_fleet_a_trace_and_a_deadline_from_the_command_line(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    given, fleet = inputs(), make_fleet()
    write_all(tmp_path, fleet, switching(["fast", "slow"]), plan_for(fleet))
    more = ("--fleet", str(tmp_path / "fleet.json"), "--trace", str(tmp_path / "trace.json"))
    options = ("--sample", "6", "--deadline", "10", "--batch-size", "4", "--json")
    result = CliRunner().invoke(
        run_command,
        arguments(given, tmp_path / "run", *more, *options),
        catch_exceptions=False,
    )
    assert json.loads(result.stdout)["refused"] > 0
    assert "the deadline is 10 s" in result.stderr
    assert " s left" in result.stderr
