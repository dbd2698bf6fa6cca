"""The simplex method against scipy's, cold and from the basis of a like program."""

import numpy as np
import pytest
from scipy.optimize import linprog

from finetune.doctor import examine
from solver.linear import least


def test_a_warm_start_changes_nothing_but_the_work() -> None:
    rng, solved = np.random.default_rng(5), 0
    for _ in range(40):
        rows, columns = rng.integers(1, 6), rng.integers(2, 8)
        matrix = rng.uniform(0, 1, (rows, columns))
        limit, high = rng.uniform(0.5, 3, rows), rng.uniform(0.5, 2, columns)
        bounds = (np.full(rows, -np.inf), limit), (np.zeros(columns), high)
        cost = rng.uniform(-1, 0.3, columns)
        first = least(cost, matrix, *bounds)
        again = cost + rng.normal(0, 0.2, columns)
        warm = least(again, matrix, *bounds, (first.columns, first.rows))
        for wanted, found in ((cost, first), (again, warm)):
            truth = linprog(
                wanted, matrix, limit, bounds=list(zip(0 * high, high, strict=True))
            )
            assert found.value == pytest.approx(truth.fun, abs=1e-7)
            assert wanted @ found.x == pytest.approx(truth.fun, abs=1e-7)
            assert (matrix @ found.x <= limit + 1e-7).all()
            # A unit more of a binding row is worth its dual.
            assert found.dual == pytest.approx(truth.ineqlin.marginals, abs=1e-6)
            solved += truth.fun is not None and truth.fun < -1e-3
    assert solved > 40


def test_a_program_without_a_solution_is_said_to_have_none() -> None:
    nothing = (np.array([2.0]), np.array([3.0])), (np.zeros(1), np.ones(1))
    basis = np.array([0]), np.array([1])
    with pytest.raises(ArithmeticError, match="linear program"):
        least(np.ones(1), np.ones((1, 1)), *nothing, basis)


def test_a_solver_is_silent_before_it_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    import highspy

    real, loud = highspy.Highs.enableCallbacks, []

    def enable(solver: highspy.Highs) -> None:
        # highspy 1.16 prints a banner here, which would stand before a document of --json.
        loud.append(solver.getOptionValue("output_flag")[1])
        real(solver)

    monkeypatch.setattr(highspy.Highs, "enableCallbacks", enable)
    least(np.ones(1), np.ones((1, 1)), (np.zeros(1), np.ones(1)), (np.zeros(1), np.ones(1)))
    assert examine()
    assert loud == [False, False]
