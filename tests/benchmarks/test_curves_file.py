"""Learning curves in results, and the exponents that are fitted to figures."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from benchmarks.curves_file import ACCURACY, TIME, UPLOAD, read_curves, save_curves
from benchmarks.fits import exponent, exponents, fitted_sizes
from benchmarks.learning.curves import Curve
from benchmarks.registry import find, run, save
from benchmarks.result import read_result
from profiler.schema import InputError


def curve(speed: float, rows: int = 10) -> Curve:
    """A run that learns as a saturating exponential, `speed` times as fast as one in 1 s."""
    time_s = np.arange(1.0, rows + 1) / speed
    accuracy = 0.8 - 0.3 * np.exp(-np.arange(1.0, rows + 1) / 3)
    return Curve(
        time_s=time_s,
        upload_bytes=1e6 * time_s,
        accuracy=accuracy,
        final_accuracy=float(accuracy[-1]),
        final_loss=0.5,
        mean_wait_s=0.1,
        mean_round_s=1.0,
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A result on file in the name of time-to-accuracy."""
    result = run(find("frontier"), quick=True, seeds=1)
    return save(replace(result, case="time-to-accuracy", quick=False, series=[]), tmp_path)


def test_curves_are_put_into_a_result_and_read_back(saved: Path) -> None:
    before = read_result(saved)
    by_arm = {"exact-int8": [curve(3.0), curve(2.0)], "legend": [curve(1.0), curve(1.5)]}
    assert save_curves("time-to-accuracy", by_arm, 10.0, folder=saved.parent) == saved
    found = read_curves(saved)
    assert list(found) == list(by_arm)
    assert [one.seed for one in found["legend"]] == [0, 1]
    for name, curves in by_arm.items():
        for one, read in zip(curves, found[name], strict=True):
            assert read.setting == "alpha 10"
            assert read.columns[TIME] == one.time_s.tolist()
            assert read.columns[UPLOAD] == one.upload_bytes.tolist()
            assert read.columns[ACCURACY] == one.accuracy.tolist()
    assert replace(read_result(saved), series=[]) == before


def test_curves_of_the_same_alpha_are_replaced_and_others_kept(saved: Path) -> None:
    for alpha, speed in ((10.0, 1.0), (1.0, 2.0), (10.0, 4.0)):
        save_curves("time-to-accuracy", {"legend": [curve(speed)]}, alpha, folder=saved.parent)
    found = {one.setting: one.columns[TIME][0] for one in read_curves(saved)["legend"]}
    assert found == {"alpha 1": 0.5, "alpha 10": 0.25}


def test_without_a_result_or_without_curves_there_is_one_line(saved: Path) -> None:
    with pytest.raises(InputError, match="has no learning curves; run its case anew"):
        read_curves(saved)
    with pytest.raises(InputError, match="no such file"):
        save_curves("time-to-accuracy-more", {}, 10.0, folder=saved.parent)


def test_exponents_of_power_laws_are_found() -> None:
    sizes = [1e5, 1e6, 1e7]
    slope, factor = exponent(sizes, [3e-6 * size**0.9 for size in sizes])
    assert slope == pytest.approx(0.9)
    assert factor == pytest.approx(3e-6)
    by_size = [[size**0.5, 2 * size**2] for size in sizes]
    assert exponents(sizes, by_size) == pytest.approx([0.5, 2.0])


def test_small_sizes_are_fitted_only_where_there_are_no_others() -> None:
    assert fitted_sizes([10, 1e4, 1e5, 1e6]) == [1e5, 1e6]
    assert fitted_sizes([10, 1e3, 1e5]) == [10, 1e3, 1e5]
