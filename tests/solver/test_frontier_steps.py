"""The whole Pareto curve: no step missing, none dominated."""

from pathlib import Path

import numpy as np
import pytest

from profiler.schema import InputError
from solver.errors import Infeasible
from solver.exact import maximise_utility
from solver.frontier import Point, every_step, frontier_points
from solver.least import least_round_time_s
from solver.problem import Problem
from solver.show.frontier import draw
from tests.solver.instances import random_fleet


@pytest.fixture
def problem() -> Problem:
    fleet = random_fleet(3, layers=3, devices=6, max_rank=3)
    return Problem.of(fleet, ranks=[1, 3])


def best_within(curve: list[Point], seconds: float) -> float:
    return max((p.utility for p in curve if p.round_time_s <= seconds), default=0.0)


def test_the_curve_knows_the_best_utility_of_every_round_time(problem: Problem) -> None:
    curve = list(every_step(problem))
    rng = np.random.default_rng(0)
    for seconds in rng.uniform(0.9 * curve[-1].round_time_s, 1.1 * curve[0].round_time_s, 60):
        try:
            best = maximise_utility(problem.under(round_time_s=float(seconds))).value
        except Infeasible:
            best = 0.0
        assert best_within(curve, seconds) == pytest.approx(best, rel=1e-12)


def test_the_least_round_time_but_for_rounding_is_a_curve_of_one_step(problem: Problem) -> None:
    """A plan keeps that budget too, within the tolerance on limits."""
    least_s = least_round_time_s(problem)
    assert least_s is not None
    tight = problem.under(round_time_s=least_s * (1 - 1e-11))
    (step,) = every_step(tight)
    assert frontier_points(tight, 3) == [step]
    assert step.utility == maximise_utility(tight).value
    with pytest.raises(Infeasible, match="of round time and has"):
        frontier_points(problem.under(round_time_s=least_s * (1 - 1e-9)), 3)


def test_no_step_dominates_another(problem: Problem) -> None:
    curve = list(every_step(problem))
    times = [p.round_time_s for p in curve]
    utilities = [p.utility for p in curve]
    assert len(curve) >= 4
    assert times == sorted(set(times), reverse=True)
    assert utilities == sorted(set(utilities), reverse=True)


def test_some_points_lie_on_the_whole_curve(problem: Problem) -> None:
    curve = list(every_step(problem))
    for point in frontier_points(problem, 12):
        assert best_within(curve, point.round_time_s) == pytest.approx(point.utility)


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_picture_is_the_same_every_time(
    problem: Problem, tmp_path: Path, suffix: str
) -> None:
    curve = list(every_step(problem))[::-1]
    pictures = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for picture in pictures:
        draw(curve, picture)
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
    with pytest.raises(InputError, match=r"expected .svg or .png"):
        draw(curve, tmp_path / "c.pdf")
