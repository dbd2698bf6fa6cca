"""Heuristics of one's own: price what they choose, and make plans of it.

A heuristic is any function from a problem to ranks. What it chooses is priced and bounded as
the policies here are, and `solver.compare.compare_policies` takes it beside them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace as replace_fields

from profiler.schema import InputError
from solver.allocation import mean_wait_s, round_time_s, utility
from solver.assemble import predicted_by_device
from solver.costs.devices import Floats
from solver.imported import Import, able, allocated, plan_import
from solver.links.said import overloaded
from solver.plan import Plan
from solver.planner import solve
from solver.problem import Problem
from solver.wording import spoken

__all__ = ["Heuristic", "Priced", "Ranks", "plan_of", "price"]

Row = Sequence[int] | npt.NDArray[np.integer] | None
"""Rank by layer, input first, 0 where a device adapts none; None if it takes no part."""
Ranks = Mapping[str, Row] | Sequence[Row] | npt.NDArray[np.integer]
"""Rows of the fleet's devices, in its order, or by name: who is not named takes no part."""
Heuristic = Callable[[Problem], Ranks]


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """What ranks cost, whether or not they keep every limit.

    Parameters
    ----------
    utility, round_time_s, mean_wait_s : float
        Of those who take part, before waits are filled.
    fits : array of bool, shape (N,)
        Whether a device keeps its own limits: the round time, memory, and the budgets on it.
        True of one that takes no part.
    keeps_links : bool
        Whether the shared links carry everybody's bytes within the round time.
    devices : mapping of str to array, shape (N,)
        Columns of `solver.plan.PredictedDevice`, such as ``time_s`` and ``memory_bytes``:
        ``pandas.DataFrame(priced.devices)`` has a row a device.
    """

    utility: float
    round_time_s: float
    mean_wait_s: float
    fits: npt.NDArray[np.bool_]
    keeps_links: bool
    devices: Mapping[str, Floats] = field(repr=False)


@spoken
def price(problem: Problem, ranks: Ranks) -> Priced:
    """Say what ranks cost and what they are worth, to search with.

    Parameters
    ----------
    problem : Problem
    ranks : mapping or sequence
        Rank by layer of each device; see `Ranks`.

    Raises
    ------
    InputError
        If these are no ranks of this problem.

    Examples
    --------
    >>> from solver import Problem, price, random_fleet
    >>> problem = Problem.of(random_fleet(1), ranks=[1, 2, 4], round_time_s=20)
    >>> priced = price(problem, [[0, 0, 4]] * 4)
    >>> priced.fits.tolist(), round(priced.utility, 3)
    ([True, True, True, True], 2.082)
    """
    allocation = allocated(problem, _given(problem, ranks))
    timed = problem.costs.links is not None
    return Priced(
        utility=utility(problem, allocation),
        round_time_s=round_time_s(problem, allocation),
        mean_wait_s=mean_wait_s(problem, allocation),
        fits=able(problem, allocation),
        keeps_links=not timed or overloaded(problem, allocation, least=False) is None,
        devices=predicted_by_device(problem, allocation),
    )


@spoken
def plan_of(
    problem: Problem, ranks: Ranks, *, policy: str = "own", leave_out: bool = False
) -> Plan:
    """Make a plan of ranks, with predictions, a bound on any plan's utility, and the gap.

    Parameters
    ----------
    problem : Problem
    ranks : mapping or sequence
        Rank by layer of each device; see `Ranks`.
    policy : str
        What the plan calls the way it was made.
    leave_out : bool
        Whether devices that cannot carry theirs are left out, rather than refused.

    Raises
    ------
    Infeasible
        If a device cannot carry its ranks, or a budget on all of them does not hold.
    InputError
        If these are no ranks of this problem.
    """
    # Whom to leave out it has said itself, and its ranks are of its own structure.
    asked = replace_fields(problem.question, policy=policy, structure="own", leave_out="nobody")
    using = partial(plan_import, given=_given(problem, ranks), leave_out=leave_out)
    return solve(problem.asking(asked), using=using)


def _given(problem: Problem, ranks: Ranks) -> Import:
    names, layers = problem.costs.devices.names, problem.layers
    if isinstance(ranks, Mapping):
        if unknown := ranks.keys() - set(names):
            raise InputError(f"ranks are of '{min(unknown)}', which is no device of the fleet")
        ranks = [ranks.get(name) for name in names]
    if not hasattr(ranks, "__len__"):
        raise InputError(
            f"ranks are {ranks!r:.60}; expected those of every device, as a heuristic gives "
            "when it is called with the problem"
        )
    if len(ranks) != len(names):
        raise InputError(f"ranks are of {len(ranks)} devices; the fleet has {len(names)}")
    choices = {0, *problem.ranks.tolist()}
    rows = [None if row is None else np.ravel(row).tolist() for row in ranks]
    for name, row in zip(names, rows, strict=True):
        if row is not None:
            _check(name, row, layers, choices)
    return Import(ranks=rows, notes=[])


def _check(name: str, row: list[int], layers: int, choices: set[int]) -> None:
    if len(row) != layers:
        raise InputError(f"device '{name}': ranks are {row}; expected {layers} whole numbers")
    if odd := [r for r in row if r not in choices]:
        raise InputError(
            f"device '{name}': rank {odd[0]} is none of the problem's; it has "
            f"{_span(sorted(choices - {0}))}, or 0 for no adapter"
        )
    first = next((i for i, r in enumerate(row) if r), layers)
    if 0 in row[first:]:
        raise InputError(
            f"device '{name}': ranks are {row}, input first; expected a device to adapt its "
            "last layers, none between them left out"
        )


def _span(ranks: list[int]) -> str:
    dense = len(ranks) > 2 and ranks == list(range(ranks[0], ranks[-1] + 1))
    return f"{ranks[0]} to {ranks[-1]}" if dense else ", ".join(map(str, ranks))
