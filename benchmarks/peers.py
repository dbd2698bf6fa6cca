"""General solvers put to the dynamic program's question, each behind the same two calls."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from solver.allocation import Allocation
    from solver.milp.build import Model
    from solver.problem import Problem

__all__ = ["Ready", "load", "ready"]

_PULP = ("solver.milp.arcs", "solver.milp.model")
_MODULES = {
    "scipy": ("benchmarks.scipy_milp",),
    "PuLP+HiGHS": ("highspy", *_PULP),
    "PuLP+CBC": ("cbcbox", *_PULP),
    # It brings a HiGHS of its own and does not load beside highspy unless it is first.
    "CP-SAT": ("ortools.sat.python.cp_model", "benchmarks.cp_sat", *_PULP),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A peer with its program built.

    Attributes
    ----------
    solve : callable
        Returns whether the optimum is proven, and the solution, if it is.
    read : callable
        Turns a solution into an allocation.
    """

    solve: Callable[[], tuple[bool, Any]]
    read: Callable[[Any], "Allocation"]


def load(solver: str) -> None:
    """Load what a peer needs, so that loading it does not count; before the planner."""
    for module in _MODULES.get(solver, ()):
        importlib.import_module(module)


def ready(problem: "Problem", form: str, solver: str, limit_s: float) -> Ready:
    """Build the program of a form for a solver.

    Parameters
    ----------
    problem : Problem
    form : {'arcs', 'disaggregated'}
    solver : {'scipy', 'PuLP+HiGHS', 'PuLP+CBC', 'CP-SAT'}
        scipy takes arcs alone.
    limit_s : float
    """
    if solver == "scipy":
        from benchmarks import scipy_milp

        flow = scipy_milp.write(problem)
        return Ready(
            solve=lambda: scipy_milp.solve(flow, limit_s),
            read=lambda values: scipy_milp.read(problem, flow, values),
        )
    model = _written(problem, form)
    solve = _cp_sat if solver == "CP-SAT" else _pulp
    return Ready(solve=solve(model, solver, limit_s), read=model.read)


def _written(problem: "Problem", form: str) -> "Model":
    from solver.milp.arcs import arcs
    from solver.milp.model import disaggregated

    return {"arcs": arcs, "disaggregated": disaggregated}[form](problem)


def _cp_sat(model: "Model", _: str, limit_s: float) -> Callable[[], tuple[bool, Any]]:
    from benchmarks import cp_sat

    translated, variables = cp_sat.translate(model.program)

    def solve() -> tuple[bool, Any]:
        found = cp_sat.solve(translated, variables, limit_s)
        return found.proven, found.values or None

    return solve


def _pulp(model: "Model", solver: str, limit_s: float) -> Callable[[], tuple[bool, Any]]:
    def solve() -> tuple[bool, Any]:
        import pulp

        program = model.program
        try:
            program.solve(_pulp_solver(solver, limit_s))
        except pulp.PulpSolverError:
            return False, None
        proven = program.sol_status == pulp.LpSolutionOptimal
        values = {v.name: v.varValue for v in program.variables() if v.varValue}
        return proven, values if proven else None

    return solve


def _pulp_solver(solver: str, limit_s: float) -> Any:
    import pulp

    if solver == "PuLP+HiGHS":
        return pulp.HiGHS(msg=False, timeLimit=limit_s, gapRel=0.0)
    import cbcbox

    path = str(cbcbox.cbc_bin_path())
    return pulp.COIN_CMD(path=path, msg=False, timeLimit=limit_s, gapRel=0.0)
