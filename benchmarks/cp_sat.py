"""A linear program written with PuLP, put to OR-Tools' CP-SAT.

CP-SAT knows whole numbers only: continuous variables are made whole, which changes nothing
where a vertex of the program is whole, as in a network flow. It takes the objective as it is
and scales it itself.
"""

from dataclasses import dataclass
from typing import Any

from profiler.schema import InputError

__all__ = ["Solution", "solve", "translate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """What CP-SAT says.

    Attributes
    ----------
    proven : bool
        Whether it proved its solution optimal.
    values : dict of str to float
        Variables that are not 0, by name.
    """

    proven: bool
    values: dict[str, float]


def translate(program: Any) -> tuple[Any, dict[str, Any]]:
    """Write a ``pulp.LpProblem`` of whole coefficients and bounds as a CP-SAT model."""
    import pulp
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    variables = {
        v.name: model.new_int_var(int(v.lowBound), int(v.upBound), v.name)
        for v in program.variables()
    }
    for row in program.constraints.values():
        terms = [_whole(c) * variables[v.name] for v, c in row.items()]
        total, right = sum(terms), _whole(-row.constant)
        if row.sense == pulp.LpConstraintLE:
            model.add(total <= right)
        elif row.sense == pulp.LpConstraintGE:
            model.add(total >= right)
        else:
            model.add(total == right)
    objective = sum(c * variables[v.name] for v, c in program.objective.items())
    (model.maximize if program.sense == pulp.LpMaximize else model.minimize)(objective)
    return model, variables


def solve(model: Any, variables: dict[str, Any], time_limit_s: float) -> Solution:
    """Solve with CP-SAT's own choice of workers."""
    from ortools.sat.python import cp_model

    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = time_limit_s
    solver.parameters.relative_gap_limit = 0.0
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Solution(proven=False, values={})
    values = {name: float(solver.value(v)) for name, v in variables.items() if solver.value(v)}
    return Solution(proven=status == cp_model.OPTIMAL, values=values)


def _whole(number: float) -> int:
    if number != round(number):
        raise InputError(f"a coefficient is {number}; CP-SAT takes whole numbers")
    return round(number)
