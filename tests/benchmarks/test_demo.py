"""The demonstration: what it refuses before the slow part, and how it stops."""

import os
import sys
import threading
import time
from pathlib import Path
from signal import SIGINT

import pytest

import legend
from benchmarks import demo


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-o table.csv", "table.csv: is a file; expected a folder to write with -o"),
        ("-o .", ".: not empty; choose another folder with -o or remove it"),
        ("-o table.csv/new", "table.csv/new: cannot be made (Not a directory)"),
        ("-o new --model none", "none: holds no config.json; expected a model's folder"),
        ("-o new --data none.csv", "none.csv: no such file; check the path"),
        ("-o new --data words.csv", "words.csv: no column 'text'; it has words."),
        (
            "-o new --data three.csv",
            "column 'label' holds 3 labels; the model is profiled for 2",
        ),
        ("-o new --data one.csv", "column 'label' holds only 'a'; expected 2 or more labels"),
        ("-o new --rounds 0", "Invalid value for '--rounds': 0"),
        ("-o new --sample 81", "Invalid value for '--sample': 81"),
        ("-o new --seed -1", "Invalid value for '--seed': -1"),
    ],
)
def test_what_a_step_would_refuse_is_refused_at_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    said: str,
) -> None:
    def reached(*_: object, **__: object) -> None:
        pytest.fail("the slow part began")

    monkeypatch.setattr(demo, "run_demo", reached)
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_text("text,label\nx,a\ny,b\n")
    Path("words.csv").write_text("words\nx\n")
    Path("three.csv").write_text("text,label\nx,a\ny,b\nz,c\n")
    Path("one.csv").write_text("text,label\nx,a\n")
    monkeypatch.setattr(sys, "argv", ["legend", "demo", *words.split()])
    with pytest.raises(SystemExit) as ended:
        legend.main()
    err = capsys.readouterr().err
    assert ended.value.code == 2
    assert err.startswith(f"legend: {said}")
    assert len(err.splitlines()) == 1
    assert not Path("new").exists()


@pytest.mark.parametrize("told", [True, False], ids=["everybody", "the parent alone"])
def test_ctrl_c_leaves_a_step_time_to_keep_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    """As from a terminal, which tells the step as well, and as a signal to one process."""
    kept = tmp_path / "kept"
    step = (
        "import os, pathlib, signal, sys, time\n"
        "try:\n"
        f"    pathlib.Path({str(tmp_path / 'begun')!r}).touch()\n"
        f"    if {told}:\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "    time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        f"    time.sleep(0.6)\n    pathlib.Path({str(kept)!r}).touch()\n"
        "    sys.exit(130)\n"
    )
    monkeypatch.setattr(demo, "STEP_ENDS_S", 5.0 if told else 0.1)

    def interrupt() -> None:
        until = time.monotonic() + 20
        while not (tmp_path / "begun").exists() and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(os.getpid(), SIGINT)

    threading.Thread(target=interrupt).start()
    assert demo.run_step([sys.executable, "-c", step], dict(os.environ), None) == 130
    assert kept.exists()
