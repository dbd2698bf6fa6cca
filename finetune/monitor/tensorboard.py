"""Metrics of a run for TensorBoard, if it is installed."""

from pathlib import Path
from types import TracebackType
from typing import Any

from finetune.monitor.metrics import RoundMetrics
from solver.plan import InputError

__all__ = ["TensorBoard"]

FIELDS = (
    "test_accuracy",
    "test_loss",
    "train_loss",
    "aggregation_error",
    "virtual_time_s",
    "round_time_s",
    "mean_wait_s",
    "upload_bytes",
    "download_bytes",
)


class TensorBoard:
    """Writes one step a round into ``OUT/tensorboard``; does nothing where not `wanted`.

    Parameters
    ----------
    out : Path
        Folder of the run.
    wanted : bool
        Whether to write.

    Raises
    ------
    InputError
        If it is wanted but not installed.
    """

    def __init__(self, out: Path, *, wanted: bool) -> None:
        self._folder = out / "tensorboard"
        self._kind: Any = _writer() if wanted else None
        self._open: Any = None

    def __enter__(self) -> "TensorBoard":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._open is not None:
            self._open.close()

    def add(self, row: RoundMetrics) -> None:
        """Write a round; what an earlier attempt wrote of it and later ones is dropped."""
        if self._kind is None:
            return
        if self._open is None:
            self._open = self._kind(str(self._folder), purge_step=row.round)
        for name in FIELDS:
            value = getattr(row, name)
            if value is not None:
                self._open.add_scalar(name, value, row.round)
        self._open.add_scalar("refused", len(row.refused), row.round)
        self._open.flush()


def _writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError(
            "--tensorboard needs the package tensorboard, which is not installed; install it "
            "with pip install 'legend-planner[tensorboard]', or leave the option out"
        ) from None
    return SummaryWriter
