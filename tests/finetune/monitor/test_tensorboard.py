"""What TensorBoard reads back, where it is installed."""

from pathlib import Path

import pytest

from finetune.monitor.metrics import RoundMetrics
from finetune.monitor.tensorboard import TensorBoard


def row(number: int, accuracy: float | None) -> RoundMetrics:
    return RoundMetrics(
        round=number,
        virtual_time_s=10.0 * number,
        round_time_s=10.0,
        mean_wait_s=1.0,
        upload_bytes=100.0,
        download_bytes=100.0,
        train_loss=0.5,
        test_accuracy=accuracy,
        test_loss=None,
        devices=[],
        refused=[],
    )


def test_a_resumed_run_replaces_what_it_plays_again(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for rounds, accuracy in (((1, 2, 3), 0.25), ((3, 4), 0.75)):
        with TensorBoard(tmp_path, wanted=True) as board:
            for number in rounds:
                board.add(row(number, None if number == 2 else accuracy))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    found = [(event.step, event.value) for event in events.Scalars("test_accuracy")]
    assert found == [(1, 0.25), (3, 0.75), (4, 0.75)]
    assert "test_loss" not in events.Tags()["scalars"]
