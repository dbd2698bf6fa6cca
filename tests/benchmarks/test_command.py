"""``python -m benchmarks`` as a person meets it."""

import json
import subprocess
import sys

from benchmarks.machine import ROOT
from benchmarks.registry import NAMES


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


def test_list_names_every_case() -> None:
    assert run("list", "--names").stdout.split() == list(NAMES)
    assert "frontier" in run("list").stdout


def test_json_alone_goes_to_stdout() -> None:
    done = run("run", "frontier", "--quick", "--seeds", "1", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["schema"] == "legend/benchmark/1"
    assert result["figures"][0]["unit"] == "s"
    assert "seed 0" in done.stderr


def test_people_get_a_table_on_stderr() -> None:
    done = run("run", "frontier", "--quick", "--seeds", "1")
    assert done.stdout == ""
    assert "largest gap" in done.stderr


def test_a_wrong_name_is_exit_code_2() -> None:
    done = run("run", "speed")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
