"""Learning curves in the result of a case, from which its pictures are drawn."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from benchmarks.registry import RESULTS, result_path
from benchmarks.result import Series, read_result
from profiler.schema import InputError, write

if TYPE_CHECKING:
    from benchmarks.learning.curves import Curve

__all__ = ["ACCURACY", "TIME", "UPLOAD", "curve_series", "read_curves", "save_curves"]

TIME, UPLOAD, ACCURACY = "virtual_time_s", "upload_bytes", "accuracy_fraction"


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
                ACCURACY: curve.accuracy.tolist(),
            },
        )
        for arm, curves in by_arm.items()
        for seed, curve in enumerate(curves)
    ]


def save_curves(
    case_name: str,
    by_arm: Mapping[str, Sequence["Curve"]],
    alpha: float,
    *,
    quick: bool = False,
    folder: Path = RESULTS,
) -> Path:
    """Put curves into a result on file, in place of those of the same alpha.

    Returns its file; raises `InputError` where there is no result yet.
    """
    path = result_path(case_name, quick=quick, folder=folder)
    result, new = read_result(path), curve_series(by_arm, alpha)
    settings = {one.setting for one in new}
    kept = [one for one in result.series if one.setting not in settings]
    write(path, replace(result, series=[*kept, *new]))
    return path


def read_curves(path: Path) -> dict[str, list[Series]]:
    """Curves of a result by policy, seeds in order; raises `InputError` where it has none."""
    found: dict[str, list[Series]] = {}
    for one in read_result(path).series:
        if ACCURACY in one.columns:
            found.setdefault(one.name, []).append(one)
    if not found:
        raise InputError(f"{path}: has no learning curves; run its case anew with --save")
    return {name: sorted(curves, key=lambda c: c.seed) for name, curves in found.items()}
