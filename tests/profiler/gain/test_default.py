"""The analytic gain table."""

from itertools import pairwise

import numpy as np
import pytest

from profiler.gain.default import DEPTH_EXPONENT, RANK_EXPONENT, default_gain


def exponent(x: list[float], y: list[float]) -> float:
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def test_exponents_are_least_squares_fits_to_the_measured_figures() -> None:
    depth = exponent([1, 2, 3, 4, 6], [0.143, 0.163, 0.186, 0.185, 0.205])
    rank = exponent([1, 2, 4, 8, 16], [0.70, 0.78, 0.83, 0.93, 1.0])
    assert depth == pytest.approx(DEPTH_EXPONENT, abs=0.001)
    assert rank == pytest.approx(RANK_EXPONENT, abs=0.001)


@pytest.mark.parametrize("layers", [1, 6, 12, 80])
def test_gains_add_up_to_one_at_full_depth_and_rank_16(layers: int) -> None:
    gain = default_gain(layers)
    column = gain.ranks.index(16)
    assert len(gain.by_layer) == layers
    assert sum(row[column] for row in gain.by_layer) == pytest.approx(1)


def test_gains_are_marginal_from_the_output() -> None:
    rows = [row[0] for row in default_gain(12).by_layer]
    assert all(a < b for a, b in pairwise(rows))


def test_straight_lines_between_ranks_stay_close_to_the_power_law() -> None:
    gain = default_gain(1)
    for rank in range(1, 129):
        straight = float(np.interp(rank, gain.ranks, gain.by_layer[0]))
        assert straight == pytest.approx((rank / 16) ** RANK_EXPONENT, rel=0.01)
