"""``python -m benchmarks`` as a person meets it."""

import json
import signal
import subprocess
import sys

import msgspec
import pytest

from benchmarks.__main__ import show
from benchmarks.machine import ROOT
from benchmarks.registry import NAMES, RESULTS
from benchmarks.result import read_result


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
    assert result["schema"] == "legend/result/1"
    assert result["figures"][0]["unit"] == "s"
    assert "seed 0" in done.stderr


def test_people_get_a_table_on_stderr() -> None:
    done = run("run", "frontier", "--quick", "--seeds", "1")
    assert done.stdout == ""
    assert "largest gap" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "speed"], "no benchmark 'speed'; expected one of dp-vs-milp, dp-scale"),
        (["run"], "Missing argument 'NAME'"),
        (["run", "frontier", "--seeds", "0"], "0 is not in the range"),
        (["run", "frontier", "--fast"], "No such option '--fast'"),
        (["walk"], "No such command 'walk'"),
    ],
)
def test_what_a_person_can_mend_is_one_line_and_exit_code_2(
    arguments: list[str], said: str
) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("benchmarks: ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def _hears_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_is_one_line_and_leaves_the_results_as_they_were() -> None:
    before = {path: path.read_bytes() for path in RESULTS.rglob("*") if path.is_file()}
    command = [sys.executable, "-m", "benchmarks", "run", "frontier", "--seeds", "1000"]
    with subprocess.Popen(
        [*command, "--save"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        # Whoever runs the tests in the background has Ctrl-C ignored, and so would a child.
        preexec_fn=_hears_ctrl_c,
    ) as process:
        assert process.stderr is not None
        try:
            assert process.stderr.readline() == "seed 0\n"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "benchmarks: stopped by the user; nothing was saved"
    assert "Traceback" not in err
    assert {p: p.read_bytes() for p in RESULTS.rglob("*") if p.is_file()} == before


def test_a_note_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    stored = RESULTS / "dp-scale.json"
    result = read_result(stored)
    show(msgspec.structs.replace(result, notes=["pip install 'legend-planner[bench]'"]))
    assert "pip install 'legend-planner[bench]'" in capsys.readouterr().err
