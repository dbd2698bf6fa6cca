"""Devices by what they can carry: groups of like capacity, for searches that see each device.

Where a device may choose its cap, it matters how much it can carry at every depth, not only
at one, so devices do not collapse into the weights of `solver.capacity`. They still
collapse into groups of equal capacities, and a large fleet into groups of like ones: at the
least capacities of a group whatever it is given is feasible, at the largest nothing feasible
is lost.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from solver.capacity import grid, units_by_depth
from solver.devices import Floats, Ints
from solver.problem import Problem

MOST_GROUPS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """Groups of devices of like capacity.

    Parameters
    ----------
    weights : array, shape (G,)
        Weight in the utility.
    room : array of int, shape (G, L + 1)
        Largest prefix sum at each depth, in units; -1 where the depth is not allowed.
    steps : array of int, shape (L,)
        Layer sizes in units.
    """

    weights: Floats
    room: Ints
    steps: Ints

    @classmethod
    def of(cls, problem: Problem, *, optimistic: bool) -> Self:
        """Group the devices of a problem; see `solver.capacity` for `optimistic`."""
        costs, top = problem.costs, problem.question.rank_choices[-1]
        unit, steps = grid(costs.sizes, top, optimistic=optimistic)
        whole = int(steps.sum()) * top
        room = np.stack(units_by_depth(costs, unit, whole, optimistic=optimistic), axis=1)
        room[:, : problem.question.min_depth] = -1
        rows, group = np.unique(room, axis=0, return_inverse=True)
        weights = np.bincount(group.reshape(-1), problem.weights).astype(np.float64)
        rows, weights = _merged(rows, weights, optimistic=optimistic)
        return cls(weights=weights, room=rows, steps=steps)


def _merged(rows: Ints, weights: Floats, *, optimistic: bool) -> tuple[Ints, Floats]:
    """At most `MOST_GROUPS` groups of neighbours by their mean capacity."""
    if len(rows) <= MOST_GROUPS:
        return rows, weights
    order = np.argsort(rows.sum(axis=1), kind="stable")
    starts = np.linspace(0, len(rows), MOST_GROUPS, endpoint=False).astype(np.int64)
    extreme = np.maximum if optimistic else np.minimum
    return extreme.reduceat(rows[order], starts), np.add.reduceat(weights[order], starts)
