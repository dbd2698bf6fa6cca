"""Learning curves in the result of a case, from which its pictures are drawn."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from benchmarks.result import Series

if TYPE_CHECKING:
    from benchmarks.learning.curves import Curve

__all__ = ["ACCURACY", "DOWNLOAD", "TIME", "UPLOAD", "curve_series"]

TIME, ACCURACY = "virtual_time_s", "accuracy_fraction"
UPLOAD, DOWNLOAD = "upload_bytes", "download_bytes"


def curve_series(by_arm: Mapping[str, Sequence["Curve"]], alpha: float) -> list[Series]:
    """Curves as series of a result: add them to the ``series`` of a case's `Job`.

    Parameters
    ----------
    by_arm : mapping of str to sequence of Curve
        Of every policy, one curve a seed, seeds 0 up.
    alpha : float
        Dirichlet concentration of the labels.
    """
    return [
        Series(
            name=arm,
            setting=f"alpha {alpha:g}",
            seed=seed,
            columns={
                TIME: curve.time_s.tolist(),
                UPLOAD: curve.upload_bytes.tolist(),
                DOWNLOAD: curve.download_bytes.tolist(),
                ACCURACY: curve.accuracy.tolist(),
            },
        )
        for arm, curves in by_arm.items()
        for seed, curve in enumerate(curves)
    ]
