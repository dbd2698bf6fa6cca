"""What the ServerApp tells whoever started it, in files of the run's folder.

``flower/events.jsonl`` has a line for everything that a person watching would see,
``flower/nodes.jsonl`` one for every report of a device, and ``flower/outcome.json`` says how
it ended. The file ``flower/stop`` asks it to stop.
"""

import os
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from finetune.flower.orders import Report
from finetune.monitor.metrics import RoundMetrics
from finetune.monitor.progress import Progress
from finetune.options import RunOptions
from solver.plan import write

__all__ = [
    "EVENTS_FILE",
    "NODES_FILE",
    "OUTCOME_FILE",
    "PID_FILE",
    "STOP_FILE",
    "Event",
    "EventLog",
    "Outcome",
    "write_outcome",
]

EVENTS_FILE = "events.jsonl"
NODES_FILE = "nodes.jsonl"
OUTCOME_FILE = "outcome.json"
PID_FILE = "serverapp.pid"
STOP_FILE = "stop"


class Event(Struct, frozen=True, kw_only=True):
    """One thing that happened."""

    kind: Literal["say", "start", "answered", "finished"]
    text: str = ""
    done: int = 0
    devices: int = 0
    row: RoundMetrics | None = None


class Outcome(Struct, frozen=True, kw_only=True):
    """How a ServerApp ended: the exit code of the command, and its message."""

    schema: Literal["legend/outcome/1"] = "legend/outcome/1"
    code: int = 0
    message: str = ""


class NodeReport(Struct, frozen=True, kw_only=True):
    """One line of ``nodes.jsonl``; `round_trip_s` is from sending to taking the answer."""

    round: int
    device: str
    examples: int
    train_s: float
    load_s: float
    round_trip_s: float


class EventLog(Progress):
    """Writes events; begins the file anew, and removes the outcome of an earlier start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / EVENTS_FILE).write_bytes(b"")
        (folder / PID_FILE).write_text(str(os.getpid()), encoding="ascii")
        (folder / OUTCOME_FILE).unlink(missing_ok=True)

    def start(self, options: RunOptions, done: int, devices: int) -> None:
        """Rounds are about to be played."""
        self._append(EVENTS_FILE, Event(kind="start", done=done, devices=devices))

    def answered(self) -> None:
        """A device has answered."""
        self._append(EVENTS_FILE, Event(kind="answered"))

    def finished(self, row: RoundMetrics) -> None:
        """A round is finished."""
        self._append(EVENTS_FILE, Event(kind="finished", row=row))

    def say(self, text: str) -> None:
        """Something a person should know."""
        print(text, flush=True)
        self._append(EVENTS_FILE, Event(kind="say", text=text))

    def report(self, report: Report, round_trip_s: float) -> None:
        """A device's report was taken."""
        line = NodeReport(
            round=report.round_index + 1,
            device=report.device,
            examples=report.examples,
            train_s=report.train_s,
            load_s=report.load_s,
            round_trip_s=round_trip_s,
        )
        self._append(NODES_FILE, line)

    def _append(self, name: str, line: Struct) -> None:
        with (self.folder / name).open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Write how it ended, whole or not at all."""
    write(folder / OUTCOME_FILE, outcome)
