"""No escape codes where nobody reads them as such, and no colours where NO_COLOR is set."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

import legend
from profiler.schema import write
from tests.solver.instances import random_fleet

# Colours are 30 to 49 and 90 to 107; 0 to 9 are bold, dim and the like, and their end.
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:[34]\d|9\d|10\d)[;\d]*m")
COMMANDS = [
    ["solve", "FLEET", "--ranks", "1-4", "--round-time", "9", "--prices"],
    ["compare", "FLEET", "--ranks", "1-4", "--round-time", "9"],
    ["frontier", "FLEET", "--ranks", "1-4", "--points", "3"],
    ["fleet", "paper-80", "--devices", "8", "-o", "OUT"],
    ["profile", "roberta-base", "--derive", "--hardware", "jetson-tx2", "-o", "OUT"],
    ["solve", "--help"],
    ["solve", "missing.json"],
]


@pytest.fixture
def words(tmp_path: Path) -> dict[str, str]:
    fleet = tmp_path / "fleet.json"
    write(fleet, random_fleet(2, layers=3, devices=5, max_rank=4))
    return {"FLEET": str(fleet), "OUT": str(tmp_path / "out.json")}


def called(command: list[str], words: dict[str, str]) -> list[str]:
    return [sys.executable, "-m", "legend", *(words.get(word, word) for word in command)]


def environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if "COLOR" not in k and "TTY" not in k}
    return {**kept, "PYTHONPATH": str(Path(legend.__file__).parent), **more}


# All commands in one process: starting Python anew takes longer than they do.
IN_TURN = """
import sys, legend
for words in {commands!r}:
    print("\\f", *words, flush=True)
    sys.argv = ["legend", *words]
    try:
        legend.main()
    except SystemExit:
        pass
    sys.stdout.flush()
"""


@pytest.mark.parametrize("forced", ["", "FORCE_COLOR", "TTY_COMPATIBLE"])
def test_no_escape_code_reaches_a_pipe(
    words: dict[str, str], tmp_path: Path, forced: str
) -> None:
    more = {"NO_COLOR": "1", forced: "1"} if forced else {}
    commands = [[words.get(word, word) for word in command] for command in COMMANDS]
    done = subprocess.run(
        [sys.executable, "-c", IN_TURN.format(commands=commands)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment(**more),
    )
    _, *said = done.stdout.split("\f")
    assert len(said) == len(COMMANDS)
    # The command and what it says.
    assert all(len(part.splitlines()) > 1 for part in said), done.stdout
    assert "\x1b" not in done.stdout


def on_a_terminal(command: list[str], cwd: Path, env: dict[str, str]) -> str:
    """What a command prints to a terminal of its own."""
    outer, inner = pty.openpty()
    with subprocess.Popen(
        command, stdin=inner, stdout=inner, stderr=inner, cwd=cwd, env=env
    ) as process:
        os.close(inner)
        chunks = []
        while True:
            try:
                chunk = os.read(outer, 1 << 16)
            except OSError:
                # The other end is closed.
                break
            if not chunk:
                break
            chunks.append(chunk)
        process.wait()
    os.close(outer)
    return b"".join(chunks).decode(errors="replace")


@pytest.mark.parametrize("command", COMMANDS[:3], ids=" ".join)
def test_a_terminal_with_no_color_shows_none(
    command: list[str], words: dict[str, str], tmp_path: Path
) -> None:
    env = environment(TERM="xterm-256color", COLUMNS="120")
    command = called(command, words)
    assert not COLOUR.search(on_a_terminal(command, tmp_path, {**env, "NO_COLOR": "1"}))
    if "solve" in command:
        assert COLOUR.search(on_a_terminal(command, tmp_path, env))
