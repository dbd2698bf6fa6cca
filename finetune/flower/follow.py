"""Watch a ServerApp through the files that it writes, and stop it when asked to."""

import contextlib
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import psutil

from finetune.flower.events import (
    EVENTS_FILE,
    OUTCOME_FILE,
    PID_FILE,
    STOP_FILE,
    Event,
    Outcome,
)
from finetune.flower.processes import Processes, last_line
from finetune.monitor.progress import Progress
from finetune.options import RunOptions
from finetune.run import Stopped
from finetune.session.result import Summary
from solver.plan import InputError, read_bytes

__all__ = ["follow"]

STOP_S = 60.0
POLL_S = 0.2


def follow(
    processes: Processes,
    folder: Path,
    command: Sequence[str],
    options: RunOptions,
    progress: Progress,
) -> Summary:
    """Submit the app by `command`, show what happens, and hand back what it came to.

    `folder` is that of the ServerApp's events, in the folder of the run.
    """
    for name in (OUTCOME_FILE, PID_FILE, STOP_FILE):
        (folder / name).unlink(missing_ok=True)
    (folder / EVENTS_FILE).write_bytes(b"")
    app = processes.start("run", command)
    events = _Events(folder / EVENTS_FILE)
    try:
        lost: set[str] = set()
        while not (folder / OUTCOME_FILE).exists():
            events.replay(options, progress)
            for name in ("superlink", "gate"):
                processes.require(name)
            for name in set(processes.ended()) - lost - {"run", "register"}:
                lost.add(name)
                progress.say(f"{name} has ended: {last_line(processes.log(name))}")
            if app.poll() is not None or _crashed(folder):
                break
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        progress.say("stopping")
        (folder / STOP_FILE).touch()
        _await_outcome(folder, app)
    events.replay(options, progress)
    _raise_outcome(folder / OUTCOME_FILE, processes)
    return msgspec.json.decode(read_bytes(folder.parent / "summary.json"), type=Summary)


def _await_outcome(folder: Path, app: "subprocess.Popen[bytes]") -> None:
    """Let the ServerApp keep what it has, for `STOP_S` at most."""
    until = time.monotonic() + STOP_S
    while not ((folder / OUTCOME_FILE).exists() or _crashed(folder) or app.poll() is not None):
        if time.monotonic() > until or not (folder / PID_FILE).exists():
            return
        time.sleep(POLL_S)


def _crashed(folder: Path) -> bool:
    """Whether the ServerApp has been there and is gone; Flower goes on waiting for it then."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        pid = int((folder / PID_FILE).read_text(encoding="ascii"))
        with contextlib.suppress(psutil.NoSuchProcess):
            return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
        return True
    return False


def _raise_outcome(path: Path, processes: Processes) -> None:
    """Raise what the ServerApp ended with, if it did not simply finish."""
    if not path.exists():
        log = processes.log("run")
        raise InputError(
            f"the run ended without a result: {last_line(log)}; see {log}. Rounds finished are "
            "kept, go on with --resume"
        )
    outcome = msgspec.json.decode(read_bytes(path), type=Outcome)
    if outcome.code == Stopped.exit_code:
        raise Stopped(outcome.message)
    if outcome.code:
        raise InputError(outcome.message)


class _Events:
    """Reads the ServerApp's events as they are written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def replay(self, options: RunOptions, progress: Progress) -> None:
        """Show what has happened since the last call."""
        for event in self._new():
            if event.kind == "start":
                progress.start(options, event.done, event.devices)
            elif event.kind == "answered":
                progress.answered()
            elif event.kind == "finished" and event.row is not None:
                progress.finished(event.row)
            elif event.kind == "say":
                progress.say(event.text)

    def _new(self) -> Iterator[Event]:
        with self._path.open("rb") as file:
            file.seek(self._read)
            whole, _, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + bool(whole)
        for line in whole.splitlines():
            yield msgspec.json.decode(line, type=Event)
