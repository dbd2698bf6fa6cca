"""Progress on stderr: rounds, the run's clock, accuracy, time left."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from finetune.monitor.metrics import RoundMetrics
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
        self._asked = 0
        self._done = 0
        self._began_s = 0.0

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
        self._asked = min(options.sample, devices)
        self._rounds, self._done = options.rounds, done
        self._began_s = time.monotonic()
        total, completed = options.rounds * self._asked, done * self._asked
        self._bar.reset(self._task, total=total, completed=completed)
        self._bar.update(self._task, description=f"round {done + 1}/{options.rounds}")

    def answered(self) -> None:
        """Advance by a device."""
        self._bar.advance(self._task)

    def finished(self, row: RoundMetrics) -> None:
        """Show clock and accuracy; name the updates left out."""
        accuracy = "" if row.test_accuracy is None else f"  {100 * row.test_accuracy:.1f} %"
        text = f"round {row.round}/{self._rounds}  {row.virtual_time_s:,.1f} s{accuracy}"
        # Who was late without training, or away, never answered.
        completed = row.round * self._asked
        self._bar.update(self._task, description=text, completed=completed)
        for refusal in row.refused:
            self.say(f"round {row.round}: left out '{refusal.device}': {refusal.reason}")
        if self._bar.disable:
            self.say(f"{text}{self._left(row.round)}")

    def _left(self, finished: int) -> str:
        """Wall time left, if the rounds to come take as long as those played here."""
        if not self._rounds > finished > self._done:
            return ""
        a_round_s = (time.monotonic() - self._began_s) / (finished - self._done)
        return f"  about {a_round_s * (self._rounds - finished):.0f} s left"

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False, highlight=False)
