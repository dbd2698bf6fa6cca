"""Linear programs by the simplex method, from the basis of a like one where there is one.

Searches behind links solve the same program again and again: other ranks, one more plane, a
smaller box. From the basis that a program ended in, the next takes a few steps instead of
hundreds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from solver.costs.devices import Floats, Ints

# HiGHS's own numbers.
AT_LOWER, BASIC, AT_UPPER = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """Optimum of a linear program.

    Parameters
    ----------
    x : array, shape (n,)
    dual : array, shape (m,)
        What a unit more of a row's bound adds to the value.
    value : float
    columns, rows : array of int, shapes (n,) and (m,)
        Status of each in the basis.
    """

    x: Floats
    dual: Floats
    value: float
    columns: Ints
    rows: Ints


def least(
    cost: Floats,
    matrix: Any,
    rows: tuple[Floats, Floats],
    columns: tuple[Floats, Floats],
    start: tuple[Ints, Ints] | None = None,
) -> Solved:
    """Minimise ``cost x`` with ``matrix x`` between the bounds of `rows` and x of `columns`.

    Parameters
    ----------
    cost : array, shape (n,)
    matrix : array, sparse or not, shape (m, n)
    rows, columns : tuple of two arrays
        Lower and upper bounds.
    start : tuple of (array of shape (n,), array of shape (m,)), optional
        Status of columns and rows to begin with; neither complete nor regular need they be.
    """
    import highspy
    from scipy.sparse import csc_array

    matrix = csc_array(matrix)
    model = highspy.HighsLp()
    model.num_row_, model.num_col_ = matrix.shape
    model.col_cost_ = cost
    model.row_lower_, model.row_upper_ = rows
    model.col_lower_, model.col_upper_ = columns
    model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    model.a_matrix_.start_ = matrix.indptr
    model.a_matrix_.index_ = matrix.indices
    model.a_matrix_.value_ = matrix.data
    solver = _silent_solver()()
    solver.setOptionValue("threads", 1)
    solver.passModel(model)
    if start is not None:
        solver.setOptionValue("presolve", "off")
        kinds = list(highspy.HighsBasisStatus.__members__.values())
        basis = highspy.HighsBasis()
        basis.valid, basis.alien = True, True
        basis.col_status = [kinds[i] for i in start[0].tolist()]
        basis.row_status = [kinds[i] for i in start[1].tolist()]
        solver.setBasis(basis)
    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        if start is not None:
            # A bad basis to start from must not decide.
            return least(cost, matrix, rows, columns)
        raise ArithmeticError(f"linear program: {solver.getModelStatus()}")
    found, basis = solver.getSolution(), solver.getBasis()
    return Solved(
        x=np.array(found.col_value),
        dual=np.array(found.row_dual),
        value=solver.getInfo().objective_function_value,
        columns=np.array([int(s) for s in basis.col_status]),
        rows=np.array([int(s) for s in basis.row_status]),
    )


@cache
def _silent_solver() -> Callable[[], Any]:
    """HiGHS that prints nothing, from its first moment on.

    highspy 1.16 prints a banner on standard output when a solver is made, as it
    enables its callbacks and before it can be told to be silent.
    """
    import highspy

    class Silent(highspy.Highs):  # type: ignore[misc]
        def enableCallbacks(self) -> None:
            self.setOptionValue("output_flag", False)
            super().enableCallbacks()

    return Silent
