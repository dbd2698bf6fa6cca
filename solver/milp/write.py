"""Write a question's mixed-integer program to a file, for solvers that are not here."""

import tempfile
from pathlib import Path

import pulp

from profiler.schema import InputError, write_bytes
from solver.milp.arcs import arcs_hold
from solver.milp.solve import FORMS, Form
from solver.problem import Problem
from solver.wording import spoken

__all__ = ["write_program"]


@spoken
def write_program(problem: Problem, path: Path | str, form: Form | None = None) -> float:
    """Write the program that ``--method milp`` solves, in the format of the file's name.

    Parameters
    ----------
    problem : Problem
        Objective 'utility' or 'time'.
    path : Path or str
        Ends in ``.lp`` (CPLEX's format) or ``.mps`` (free format). An MPS file knows no
        direction that all solvers read, so it is always to be minimised.
    form : {'disaggregated', 'arcs'}, optional
        See `solver.milp.solve`; arc flow where it holds by default.

    Returns
    -------
    float
        Utility, or seconds, that one unit of the file's objective stands for; below 0 where a
        utility is written as something to minimise.

    Raises
    ------
    InputError
        If there is no such program of this question, or the name has another ending.

    Examples
    --------
    >>> from solver import Problem, random_fleet, solve
    >>> from solver.milp.write import write_program
    >>> problem = Problem.of(random_fleet(1), ranks=[1, 2, 4], round_time_s=20)
    >>> unit = write_program(problem, "random-1.mps")  # doctest: +SKIP
    """
    path = Path(path)
    if path.suffix not in (".lp", ".mps"):
        raise InputError(f"{path}: ends in '{path.suffix}'; expected .lp or .mps")
    if problem.question.objective not in ("utility", "time"):
        raise InputError(
            f"objective '{problem.question.objective}' has no program of its own; expected "
            "utility or time"
        )
    model = FORMS[form or ("arcs" if arcs_hold(problem) else "disaggregated")](problem)
    with tempfile.TemporaryDirectory(prefix="legend-milp-") as folder:
        written = Path(folder) / f"program{path.suffix}"
        if path.suffix == ".lp":
            model.program.writeLP(str(written))
        else:
            model.program.writeMPS(str(written), mpsSense=pulp.LpMinimize)
        write_bytes(path, written.read_bytes())
    turned = path.suffix == ".mps" and model.program.sense == pulp.LpMaximize
    return -model.unit if turned else model.unit
