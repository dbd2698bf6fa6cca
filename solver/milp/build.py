"""A mixed-integer program under construction: its variables, and rows by name.

======== ======================================================= ============
symbol   meaning                                                 size
======== ======================================================= ============
i        device (a row of `solver.costs.devices`, `count` alike)       N
j        layer from the output; depth k                          L
r        rank choice                                             R
y[j,r]   1 if layer j has rank r (shared and capped ranks)       L R, binary
z[i,r]   1 if device i has cap r (capped ranks only)             N R, binary
x[i,k]   1 if device i adapts at least k layers                  N L, binary
u[i,j,r] 1 if device i adapts layer j at rank r                  N L R, in [0, 1]
d        step of an arithmetic progression of ranks             1, if asked for
T        time of the slowest device, as a share of the longest   1, if needed
         that any device could take
======== ======================================================= ============
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import pulp

from solver.allocation import Allocation
from solver.deadline import expired
from solver.errors import Stopped
from solver.problem import Problem

Values = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A program and how to read its solution.

    Parameters
    ----------
    program : pulp.LpProblem
    read : callable
        Turns the values of a solution, by name, into an allocation.
    unit : float
        Utility (or seconds) that one unit of the objective stands for.
    """

    program: Any
    read: Callable[[Values], Allocation]
    unit: float


@dataclass(slots=True, kw_only=True)
class Build:
    """A program under construction with its variables."""

    problem: Problem
    program: Any
    y: list[list[Any]]
    z: list[list[Any]]
    x: list[list[Any]]
    u: list[list[list[Any]]]
    names: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """Begin with the variables."""
        question = problem.question
        minimise = question.objective == "time"
        program = pulp.LpProblem("legend", pulp.LpMinimize if minimise else pulp.LpMaximize)
        own, capped = question.structure == "own", question.structure == "capped"
        devices, ranks = range(len(problem.costs.devices)), problem.ranks.tolist()
        layers = range(1, problem.layers + 1)

        def binary(name: str, least: int = 0) -> Any:
            return program.add_variable(name, least, 1, pulp.LpInteger)

        def rank_taken(i: int, j: int, r: int) -> Any:
            kind = pulp.LpInteger if own else pulp.LpContinuous
            return program.add_variable(f"u[{i},{j},{r}]", 0, 1, kind)

        def ranks_taken(i: int, j: int) -> list[Any]:
            stop_if_expired()
            return [rank_taken(i, j, r) for r in ranks]

        return cls(
            problem=problem,
            program=program,
            y=[] if own else [[binary(f"y[{j},{r}]") for r in ranks] for j in layers],
            z=[[binary(f"z[{i},{r}]") for r in ranks] for i in devices] if capped else [],
            x=[
                [binary(f"x[{i},{k}]", int(k <= question.min_depth)) for k in layers]
                for i in devices
            ],
            u=[[ranks_taken(i, j) for j in layers] for i in devices],
        )

    def hold(self, constraint: Any, name: str) -> None:
        """Add a constraint under its name, numbered where PuLP's alphabet makes two equal."""
        stop_if_expired()
        plain = name.translate(pulp.LpVariable.trans)
        number = 1
        while plain in self.names:
            number += 1
            plain = f"{name}.{number}".translate(pulp.LpVariable.trans)
        self.names.add(plain)
        self.program.addConstraint(constraint, plain)


def stop_if_expired() -> None:
    """Raise `Stopped` once the user's time is up."""
    if expired():
        raise Stopped(
            "mixed-integer program: stopped without a plan, as writing it took all the time; "
            "give --time-limit more or use --method dp"
        )
