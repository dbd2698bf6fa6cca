"""What `legend doctor` finds, and completion as a shell asks for it."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from finetune import doctor
from finetune.cli.doctor import doctor as command
from frontdoor import COMMANDS


def found(name: str) -> doctor.Finding:
    (finding,) = (f for f in doctor.examine() if f.name == name)
    return finding


def test_everything_that_planning_needs_works_here() -> None:
    done = CliRunner().invoke(command, ["--json"])
    assert done.exit_code == 0, done.output
    findings = {f["name"]: f for f in json.loads(done.stdout)}
    for name in ("Python", "msgspec", "highspy", "HiGHS (MILP)", "CBC (MILP)"):
        assert findings[name]["state"] == "ok", findings[name]
    assert findings["msgspec"]["seen"] == importlib.metadata.version("msgspec")
    assert "pyarrow" in CliRunner().invoke(command, []).stdout


def test_what_is_missing_comes_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor._version  # noqa: SLF001
    monkeypatch.setattr(doctor, "_version", lambda n: None if n == "pyarrow" else real(n))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert found("pyarrow").state == "missing"
    assert found("pyarrow").remedy == "pip install --upgrade 'legend-planner[all]'"
    if sys.platform == "linux":
        assert found("tc").remedy == "apt-get install iproute2"
    monkeypatch.setattr(doctor, "_version", lambda n: "0.0.1" if n == "click" else real(n))
    assert found("click").state == "broken"
    assert CliRunner().invoke(command, []).exit_code == 2


def test_a_solver_that_fails_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    import highspy

    monkeypatch.delattr(highspy, "Highs")
    assert found("HiGHS (MILP)").state == "broken"
    assert "Highs" in found("HiGHS (MILP)").seen


def legend(*arguments: str, **environment: str) -> str:
    code = "import sys, legend; sys.argv[0] = 'legend'; legend.main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    ).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_names_the_command(shell: str) -> None:
    assert f"_LEGEND_COMPLETE={shell}_complete" in legend("completion", shell)


def test_completion_answers_the_shell() -> None:
    asked = {"_LEGEND_COMPLETE": "bash_complete", "COMP_CWORD": "1"}
    answer = legend(COMP_WORDS="legend ", **asked).split()
    assert set(answer) == {f"plain,{name}" for name in COMMANDS}
    options = legend(COMP_WORDS="legend doctor --j", **{**asked, "COMP_CWORD": "2"})
    assert options.split() == ["plain,--json"]


def test_bash_takes_the_script() -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    script = legend("completion", "bash")
    done = subprocess.run(
        ["bash", "-c", f"{script}\ncomplete -p legend"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "_legend_completion" in done.stdout, done.stderr
