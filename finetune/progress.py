"""Progress on stderr: rounds, time left, accuracy."""

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from finetune.metrics import RoundMetrics
from finetune.options import RunOptions

__all__ = ["ConsoleProgress", "Progress"]


class Progress:
    """Shows nothing; what a run tells whoever watches it."""

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def start(self, options: RunOptions, done: int, devices: int) -> None:
        """Rounds are about to be played; `done` of them are finished already."""

    def answered(self) -> None:
        """A device has answered."""

    def finished(self, row: RoundMetrics) -> None:
        """A round is finished."""

    def say(self, text: str) -> None:
        """Something else that a person watching should know."""


class ConsoleProgress(Progress):
    """A bar on a terminal; a line a round where stderr is no terminal."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not sys.stderr.isatty(),
        )
        self._task = TaskID(0)
        self._rounds = 0

    def __enter__(self) -> "ConsoleProgress":
        self._task = self._bar.add_task("loading", total=None)
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def start(self, options: RunOptions, done: int, devices: int) -> None:
        """Set the bar's length in device trainings."""
        asked = min(options.sample, devices)
        self._rounds = options.rounds
        self._bar.reset(self._task, total=options.rounds * asked, completed=done * asked)
        self._bar.update(self._task, description=f"round {done + 1}/{options.rounds}")

    def answered(self) -> None:
        """Advance by a device."""
        self._bar.advance(self._task)

    def finished(self, row: RoundMetrics) -> None:
        """Show the accuracy; name the updates left out."""
        accuracy = "" if row.test_accuracy is None else f"  {100 * row.test_accuracy:.1f} %"
        text = f"round {row.round}/{self._rounds}{accuracy}"
        self._bar.update(self._task, description=text)
        for refusal in row.refused:
            self._console.print(
                f"round {row.round}: left out '{refusal.device}': {refusal.reason}",
                markup=False,
            )
        if self._bar.disable:
            self._console.print(
                f"{text}  after {row.virtual_time_s:.0f} s of virtual time", highlight=False
            )

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False, highlight=False)
