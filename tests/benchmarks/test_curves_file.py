"""Learning curves in results, and the exponents that are fitted to figures."""

import numpy as np
import pytest

from benchmarks.curves_file import ACCURACY, DOWNLOAD, TIME, UPLOAD, curve_series
from benchmarks.fits import exponent, exponents, fitted_sizes
from tests.benchmarks.curves import curve


def test_curves_become_series_seeds_in_order() -> None:
    by_arm = {"exact-int8": [curve(3.0), curve(2.0)], "legend": [curve(1.0)]}
    found = curve_series(by_arm, 10.0)
    assert [(one.name, one.seed) for one in found] == [
        ("exact-int8", 0), ("exact-int8", 1), ("legend", 0)
    ]  # fmt: skip
    for one in found:
        made = by_arm[one.name][one.seed]
        assert one.setting == "alpha 10"
        assert one.columns[TIME] == made.time_s.tolist()
        assert one.columns[UPLOAD] == made.upload_bytes.tolist()
        assert one.columns[DOWNLOAD] == made.download_bytes.tolist()
        assert one.columns[ACCURACY] == made.accuracy.tolist()


def test_what_was_spent_until_a_target() -> None:
    made = curve(2.0)
    at = made.at(0.7)
    index = int(np.argmax(made.accuracy >= 0.7))
    assert 0 < index < 9
    assert at.time_s == made.time_s[index]
    assert at.traffic_bytes == made.upload_bytes[index] + made.download_bytes[index]
    assert made.at(0.9).time_s == made.time_s[-1]


def test_the_mean_over_time_weighs_by_seconds_and_holds_the_last_value() -> None:
    # Twice as fast a run has the same evaluations in half the time.
    fast, slow = curve(2.0), curve(1.0)
    assert fast.mean_accuracy(5.0) == pytest.approx(slow.mean_accuracy(10.0))
    last = fast.accuracy[-1]
    by_hand = 0.5 * fast.mean_accuracy(5.0) + 0.5 * last
    assert fast.mean_accuracy(10.0) == pytest.approx(by_hand, abs=1e-3)


def test_accuracy_at_a_time_lies_between_evaluations() -> None:
    made = curve(2.0)
    half_way = (made.time_s[3] + made.time_s[4]) / 2
    between = (made.accuracy[3] + made.accuracy[4]) / 2
    assert made.accuracy_at(half_way) == pytest.approx(between)
    assert made.accuracy_at(made.time_s[3]) == made.accuracy[3]


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
