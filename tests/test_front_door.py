"""The command as a person meets it: lazy, one line per failure, the right exit code."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import legend
from profiler.schema import write
from tests.solver.instances import random_fleet


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "legend", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd or Path(legend.__file__).parent,
    )


# Prints a script for a shell, and JSON anyway.
NO_JSON = {"completion", "schema"}


@pytest.fixture
def fleet_path(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.json"
    write(path, random_fleet(3, devices=6))
    return path


def test_help_names_every_command() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert all(command in done.stdout for command in legend.COMMANDS)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """The same in this process: exit code, stdout and stderr."""

    def run_here(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["legend", *arguments])
        with pytest.raises(SystemExit) as ended:
            legend.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return run_here


@pytest.mark.parametrize("command", sorted(legend.COMMANDS))
def test_every_command_has_help(call: Any, command: str) -> None:
    code, out, err = call(command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith("Usage:")
    # An example on a line of its own, not run into a paragraph.
    assert re.search(rf"^  (Example: )?legend {command} \S", out, re.MULTILINE)
    assert "\\b" not in out
    assert "--json" in out or command in NO_JSON


@pytest.mark.parametrize(
    ("arguments", "said", "where"),
    [
        (("sovle",), "No such command 'sovle'", "legend"),
        (("solve", "fleet.json", "--round-tiem", "3"), "No such option", "legend solve"),
        (("solve",), "Missing argument 'FLEET'", "legend solve"),
        (("solve", "a.json", "b.json"), "Got unexpected extra argument", "legend solve"),
    ],
)
def test_what_there_is_not_is_bad_input(
    call: Any, arguments: tuple[str, ...], said: str, where: str
) -> None:
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"legend: {said}")
    assert err.endswith(f" See '{where} --help'\n")
    assert len(err.strip().splitlines()) == 1


def test_a_process_ends_as_it_says() -> None:
    done = run("solve")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "legend: Missing argument 'FLEET'. See 'legend solve --help'\n"


def test_json_is_all_there_is_on_stdout(fleet_path: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    done = run("solve", str(fleet_path), "--ranks", "1-4", "--json", "-o", str(plan))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(plan.read_text())


def test_the_same_question_gives_the_same_bytes(fleet_path: Path, tmp_path: Path) -> None:
    plans = [tmp_path / "a.json", tmp_path / "b.json"]
    for plan in plans:
        assert run("solve", str(fleet_path), "--ranks", "1-4", "-o", str(plan)).returncode == 0
    assert plans[0].read_bytes() == plans[1].read_bytes()


def test_planning_loads_no_torch_and_no_pandas(fleet_path: Path) -> None:
    code = (
        "import sys, legend\n"
        f"sys.argv = ['legend', 'solve', {str(fleet_path)!r}, '--ranks', '1-4', '--json']\n"
        "try:\n    legend.main()\nfinally:\n"
        "    heavy = {'torch', 'transformers', 'peft', 'pandas', 'scipy', 'pulp', 'networkx'}\n"
        "    print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == "[]"


def test_a_bug_is_one_line_and_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(legend, "cli", broken)
    with pytest.raises(SystemExit) as stopped:
        legend.main()
    message = capsys.readouterr().err.strip()
    assert stopped.value.code == 1
    assert len(message.splitlines()) == 1
    kept = Path(message.rsplit(" ", 1)[1])
    assert "on purpose" in kept.read_text()
    kept.unlink()
