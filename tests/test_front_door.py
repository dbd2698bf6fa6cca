"""The command as a person meets it: lazy, one line per failure, the right exit code."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import frontdoor
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
    assert all(command in done.stdout for command in frontdoor.COMMANDS)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """The same in this process: exit code, stdout and stderr."""

    def run_here(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["legend", *arguments])
        with pytest.raises(SystemExit) as ended:
            legend.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return run_here


@pytest.mark.parametrize("command", sorted(frontdoor.COMMANDS))
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


INTERRUPT = "import os, signal; os.kill(os.getpid(), signal.SIGINT)\n"


@pytest.mark.parametrize(
    "module",
    [
        f"{INTERRUPT}pass\n",
        "class Named:\n    def __set_name__(self, owner, name):\n"
        f"        {INTERRUPT}        pass\n"
        "class Owner:\n    name = Named()\n",
        f"class Cleaned:\n    def __del__(self):\n        {INTERRUPT}        pass\n"
        "Cleaned()\nimport time; time.sleep(1)\n",
        f"exec({INTERRUPT + 'pass'!r})\n",
    ],
    ids=["import", "class", "lost", "made"],
)
@pytest.mark.parametrize("hook", ["click", "solver.cli.solve", "solver.planner"])
def test_ctrl_c_amid_imports_is_quiet(tmp_path: Path, module: str, hook: str) -> None:
    """In the front door's own imports, in a command's, and in those of a command at work."""
    (tmp_path / "interrupted.py").write_text(module)
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {hook!r}:\n"
        "            sys.meta_path.remove(self)\n"
        "            import interrupted\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    root = str(Path(legend.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-m", "legend", "solve", "docs/examples/fleet.json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), root])},
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.strip() == "legend: stopped by the user"


def test_a_command_in_the_background_ignores_ctrl_c() -> None:
    code = (
        "import signal, sys, legend; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "sys.argv = ['legend', 'solve', '--help']\n"
        "try:\n    legend.main()\nfinally:\n"
        "    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_bug_is_one_line_and_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(frontdoor, "cli", broken)
    with pytest.raises(SystemExit) as stopped:
        legend.main()
    message = capsys.readouterr().err.strip()
    assert stopped.value.code == 1
    assert len(message.splitlines()) == 1
    kept = Path(message.rsplit(" ", 1)[1])
    assert "on purpose" in kept.read_text()
    kept.unlink()
