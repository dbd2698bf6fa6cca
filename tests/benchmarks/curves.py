"""A learning curve as runs have them."""

import numpy as np

from benchmarks.learning.curves import Curve


def curve(speed: float, rows: int = 10) -> Curve:
    """A run that learns as a saturating exponential, `speed` times as fast as one in 1 s."""
    time_s = np.arange(1.0, rows + 1) / speed
    accuracy = 0.8 - 0.3 * np.exp(-np.arange(1.0, rows + 1) / 3)
    return Curve(
        time_s=time_s,
        upload_bytes=1e6 * time_s,
        download_bytes=3e6 * time_s,
        accuracy=accuracy,
        final_accuracy=float(accuracy[-1]),
        final_loss=0.5,
        mean_wait_s=0.1,
        mean_round_s=1.0,
    )
