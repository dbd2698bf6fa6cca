"""The bar on a terminal is as far as the run is."""

import io

import pytest

from finetune.monitor.metrics import RoundMetrics
from finetune.monitor.progress import ConsoleProgress
from finetune.options import RunOptions


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_rounds_in_which_not_everybody_answers_fill_the_bar_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", terminal)
    row = RoundMetrics(
        round=1,
        virtual_time_s=1.0,
        round_time_s=1.0,
        mean_wait_s=0.0,
        upload_bytes=0.0,
        download_bytes=0.0,
        train_loss=None,
        test_accuracy=None,
        test_loss=None,
        devices=["a", "b"],
        refused=[],
    )
    with ConsoleProgress() as progress:
        progress.start(RunOptions(rounds=1, sample=2), 0, 5)
        progress.answered()
        progress.finished(row)
    assert "100 %" in terminal.getvalue()
