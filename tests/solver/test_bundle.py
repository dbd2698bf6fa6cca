"""The cutting-plane search against functions whose least value is known."""

from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog

from solver.bundle import lowest
from solver.costs.devices import Floats


class Pieces:
    """The greatest of planes above a bowl; least in the middle of it."""

    def __init__(self, seed: int, size: int) -> None:
        rng = np.random.default_rng(seed)
        self.centre = rng.uniform(0.5, 3.0, size)
        slopes = rng.normal(size=(6 * size, size))
        # Every direction rises: with each slope its opposite.
        self.slopes = np.concatenate([slopes, -slopes])
        self.floor = float(rng.uniform(1, 5))
        self.seen: list[Floats] = []

    def __call__(self, at: Floats) -> tuple[float, Floats]:
        self.seen.append(at)
        heights = self.slopes @ (at - self.centre)
        best = int(heights.argmax())
        return self.floor + float(heights[best]), self.slopes[best]


def never(_: float) -> bool:
    return False


@pytest.mark.parametrize("size", [1, 2, 5, 12])
@pytest.mark.parametrize("radius", [0.05, 1.0, 30.0])
def test_the_least_value_is_found_from_any_first_box(size: int, radius: float) -> None:
    for seed in range(4):
        look = Pieces(seed, size)
        found = lowest(look, np.zeros(size), np.full(size, radius), steps=400, enough=never)
        assert found.value == pytest.approx(look.floor, rel=1e-3)
        assert found.value >= look.floor - 1e-9
        assert found.value == pytest.approx(look(found.at)[0])
        assert all((at >= 0).all() for at in look.seen)


def test_a_least_value_at_zero_prices_is_found() -> None:
    def look(at: Floats) -> tuple[float, Floats]:
        return 1.0 + float(at @ [2.0, 1.0]), np.array([2.0, 1.0])

    found = lowest(look, np.array([3.0, 4.0]), np.ones(2), steps=60, enough=never)
    assert found.value == pytest.approx(1.0)
    assert np.allclose(found.at, 0.0, atol=1e-9)


def test_the_looks_named_make_up_the_least_value() -> None:
    look = Pieces(3, 4)
    found = lowest(look, np.zeros(4), np.ones(4), steps=300, enough=never)
    assert len(set(found.looks)) == len(found.looks) > 1
    assert max(found.looks) < len(look.seen)
    # Their slopes have 0 between them: no step lowers all of these planes.
    slopes = np.array([look.slopes[_steepest(look, look.seen[i])] for i in found.looks])
    assert _lowered(slopes) <= 1e-6


def _steepest(look: Pieces, at: Floats) -> int:
    return int((look.slopes @ (at - look.centre)).argmax())


def _lowered(slopes: Floats) -> float:
    """By how much a step in a unit box lowers the highest of planes through 0."""
    solve: Any = linprog
    size = slopes.shape[1]
    answer = solve(
        np.append(np.zeros(size), 1.0),
        A_ub=np.hstack([slopes, -np.ones((len(slopes), 1))]),
        b_ub=np.zeros(len(slopes)),
        bounds=[*[(-1.0, 1.0)] * size, (None, None)],
    )
    return -float(answer.fun)


def test_it_stops_where_the_value_is_low_enough() -> None:
    look = Pieces(1, 5)
    goal = look.floor + 2.0
    found = lowest(look, np.zeros(5), np.ones(5), steps=300, enough=lambda v: v <= goal)
    assert found.value <= goal
    values = [look(at)[0] for at in look.seen[:]]
    assert all(value > goal for value in values[: values.index(found.value)])
    assert values[-1] == found.value


def test_no_more_looks_than_asked_for() -> None:
    look = Pieces(2, 5)
    lowest(look, np.zeros(5), np.ones(5), steps=7, enough=never)
    assert len(look.seen) == 7


def test_minus_infinity_ends_the_search() -> None:
    seen = 0

    def look(at: Floats) -> tuple[float, Floats]:
        nonlocal seen
        seen += 1
        return (-np.inf if seen == 3 else float(-at.sum())), -np.ones(len(at))

    found = lowest(look, np.zeros(2), np.ones(2), steps=50, enough=never)
    assert found.value == -np.inf
    assert seen == 3


def test_the_same_twice() -> None:
    first, second = (
        lowest(Pieces(4, 6), np.zeros(6), np.ones(6), steps=200, enough=never) for _ in range(2)
    )
    assert (first.at == second.at).all()
    assert first.looks == second.looks
