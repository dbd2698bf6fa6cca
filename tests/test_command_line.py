"""What a command line may not say: files that would be lost, and options that do nothing."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import legend
from profiler.files import InputError, check_writable, write_bytes

EXAMPLES = Path(__file__).resolve().parent.parent / "docs" / "examples"


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Any:
    """Run a command line in a folder with the examples; exit code and stderr."""
    for path in EXAMPLES.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["legend", *line.split(" ")])
        with pytest.raises(SystemExit) as ended:
            legend.main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return run


RUN = "run plan.json --model m --data data.csv -o out"
TABLE = "name,class,uplink_mbit_per_s,downlink_mbit_per_s\nvan,jetson-tx2/maxq,2,6\n"


def contents() -> dict[Path, bytes]:
    """What all files here and below hold."""
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("line", "lost"),
    [
        ("report plan.json -o plan.json", "plan.json"),
        ("report plan.json --fleet fleet.json -o fleet.json", "fleet.json"),
        ("report plan.json --frontier run.json -o run.json", "run.json"),
        ("report plan.json played -o played/metrics.jsonl", "played/metrics.jsonl"),
        ("report plan.json played -o played/adapter/config", "played/adapter/config"),
        ("fleet --from devices.csv --model roberta-base -o devices.csv", "devices.csv"),
        ("fleet paper-80 --profile profile.json -o profile.json", "profile.json"),
        (
            "fleet paper-80 --profile profile.json --trace profile.json -o f.json",
            "profile.json",
        ),
        ("fleet --fleet fleet.json --trace trace.json --at 0 -o fleet.json", "fleet.json"),
        ("fleet --fleet fleet.json --trace trace.json --at 0 -o trace.json", "trace.json"),
        ("profile x --into profile.json -o profile.json", "profile.json"),
        ("solve fleet.json -o ./fleet.json", "./fleet.json"),
    ],
)
def test_what_is_read_is_not_written_over(call: Any, line: str, lost: str) -> None:
    Path("devices.csv").write_text(TABLE)
    Path("played/adapter").mkdir(parents=True)
    Path("played/metrics.jsonl").touch()
    Path("played/adapter/config").touch()
    before = contents()
    code, err = call(line)
    assert (code, err) == (
        2,
        f"legend: {Path(lost)}: is read here and would be lost; write to another file\n",
    )
    assert contents() == before


@pytest.mark.parametrize(
    ("line", "flag"),
    [
        ("fleet --fleet fleet.json --trace trace.json --at 0 --model x -o f.json", "--model"),
        ("fleet --fleet fleet.json --trace trace.json --at 0 --seed 1 -o f.json", "--seed"),
        ("fleet --from devices.csv --model roberta-base --seed 1 -o f.json", "--seed"),
        ("profile --benchmark --derive -o b.json", "--derive"),
        ("profile --benchmark --batch-size 4 -o b.json", "--batch-size"),
        ("profile --network 127.0.0.1:1 --threads 2", "--threads"),
        ("profile --transfer p.json --here a --there b --seed 1 -o q.json", "--seed"),
        ("profile roberta-base --derive --hardware jetson-tx2 --quick -o p.json", "--quick"),
        ("profile roberta-base --derive --hardware jetson-tx2 --seed 1 -o p.json", "--seed"),
        (f"{RUN} --superlink 127.0.0.1:1", "--superlink"),
        (f"{RUN} --wait-s 3", "--wait-s"),
        (f"{RUN} --partition iid --alpha 3", "--alpha"),
        (f"{RUN} --server-momentum 0.5", "--server-momentum"),
        (f"{RUN} --workers 2 --cache-disk-mb 9", "--cache-disk-mb"),
        (f"{RUN} --engine flower --cache-disk-mb 9", "--cache-disk-mb"),
        (f"{RUN} --workers 2 --engine flower", "--workers"),
        (f"{RUN} --test-data data.csv --test-fraction 0.3", "--test-fraction"),
        ("compare fleet.json --policy legend --leave-out unable", "--leave-out"),
        ("compare fleet.json --policy legend --structure own", "--structure"),
    ],
)
def test_an_option_that_does_nothing_is_refused(call: Any, line: str, flag: str) -> None:
    Path("devices.csv").write_text(TABLE)
    code, err = call(line)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith(f"legend: {flag} does nothing here: ")


def test_what_makes_such_an_option_useful(call: Any) -> None:
    Path("devices.csv").write_text(TABLE)
    drawn = "fleet --from devices.csv --model roberta-base --trace t.json --seed 1 -o f.json"
    assert call(drawn)[0] == 0
    both = "compare fleet.json --policy exact --policy legend --structure own --ranks 1,2"
    assert call(f"{both} --leave-out unable")[0] == 0


@pytest.mark.parametrize("flag", ["batch-size", "sequence-length", "labels"])
def test_a_training_step_that_no_machine_takes_is_refused(call: Any, flag: str) -> None:
    asked = "profile roberta-base --derive --hardware jetson-tx2 -o p.json"
    code, err = call(f"{asked} --{flag} 99999999999999999999")
    assert (code, "is not in the range" in err) == (2, True)


@pytest.mark.parametrize(
    "line",
    [
        "schema fleet -o loop.json",
        "solve fleet.json --ranks 1 -o loop.json",
        "solve loop.json",
        f"export {'x' * 300} --to vllm -o served",
        f"rehearse plan.json --fleet fleet.json -o {'x' * 300}",
    ],
)
def test_a_path_that_nobody_can_use_is_no_bug(call: Any, line: str) -> None:
    Path("loop.json").symlink_to("loop.json")
    code, err = call(line)
    assert (code, err.count("\n"), "bug" in err) == (2, 1, False), err
    assert Path("loop.json").is_symlink()


def test_an_empty_argument_is_no_path(call: Any) -> None:
    """As of a variable that is not set: a folder named so would be this one."""
    code, err = call("export plan.json --to csv -o ")
    assert (code, "an argument is empty" in err) == (2, True)
    assert not Path("devices.csv").exists()


def test_files_are_readable_by_whom_the_user_lets(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"")
    old.chmod(0o640)
    mask = os.umask(0o077)
    try:
        for path in (old, new):
            write_bytes(path, b"{}")
    finally:
        os.umask(mask)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (old, new)] == [0o640, 0o600]


def test_a_file_that_is_read_only_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(b"kept")
    # Root may write anything, so the answer is given here.
    monkeypatch.setattr(os, "access", lambda at, _: at != path)
    for write in (check_writable, lambda at: write_bytes(at, b"lost")):
        with pytest.raises(InputError, match=r"plan\.json: cannot be written \(Perm"):
            write(path)
    assert path.read_bytes() == b"kept"


def legend_run(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, by a shell, with what it prints."""
    program = f"{sys.executable} -m legend {line}"
    return subprocess.run(
        ["bash", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=EXAMPLES,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parents[1]), **environment},
    )


@pytest.mark.parametrize(
    ("line", "environment", "code", "said"),
    [
        ("verify plan.json fleet.json > /dev/full", {}, 2, "cannot print: No space left"),
        ("solve fleet.json --ranks 1,2 >&-", {}, 0, ""),
        ("solve nothere.json 2> /dev/full", {}, 2, ""),
        ("solve fleet.json --ranks 1,2", {"PYTHONIOENCODING": "ascii"}, 0, ""),
        ("solve fleet.json", {"SOURCE_DATE_EPOCH": "soon"}, 2, "EPOCH is 'soon'"),
        ("solve fleet.json", {"SOURCE_DATE_EPOCH": "9" * 17}, 2, "expected whole seconds"),
    ],
)
def test_where_it_cannot_print_is_no_bug(
    line: str, environment: dict[str, str], code: int, said: str
) -> None:
    done = legend_run(line, **environment)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "bug" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("line", ["schema plan", "solve fleet.json --ranks 1,2"])
def test_who_reads_no_further_is_no_bug(line: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "legend", *line.split()],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
        cwd=EXAMPLES,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parents[1])},
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_fleet_from_a_pipe_is_read_and_no_digest_of_nothing_recorded() -> None:
    done = legend_run("solve <(cat fleet.json) --ranks 1,2 --json")
    assert json.loads(done.stdout)["provenance"]["inputs"] == []
    done = legend_run("verify plan.json <(cat fleet.json)")
    assert done.returncode == 0
    assert "is no file that stays" in done.stdout
