"""What is read off the metrics of a run."""

import pytest

from finetune.monitor.metrics import RoundMetrics, milestones


def row(number: int, accuracy: float | None) -> RoundMetrics:
    """A round of 10 virtual seconds."""
    return RoundMetrics(
        round=number,
        virtual_time_s=10.0 * number,
        round_time_s=10.0,
        mean_wait_s=0.0,
        upload_bytes=0.0,
        download_bytes=0.0,
        train_loss=0.5,
        test_accuracy=accuracy,
        test_loss=0.5,
        devices=["a"],
        refused=[],
    )


# Products such as 100 * 0.28, 100 * 0.55 and 100 * 0.57 are not whole numbers.
@pytest.mark.parametrize("right", range(100))
def test_milestones_begin_with_the_first_evaluation(right: int) -> None:
    rows = [row(1, None), row(2, right / 100), row(3, (right + 1) / 100)]
    first, second = f"{right / 100:.2f}", f"{(right + 1) / 100:.2f}"
    assert milestones(rows) == {first: 20.0, second: 30.0}


def test_there_are_no_milestones_without_an_evaluation() -> None:
    assert milestones([row(1, None)]) == {}
