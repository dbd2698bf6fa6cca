"""Devices by what they can carry: groups of like capacity, for searches that see each device.

Where a device may choose its cap, it matters how much it can carry at every depth, not only
at one, so devices do not collapse into the weights of `solver.costs.capacity`. They still
collapse into groups of equal capacities, and a large fleet into groups of like ones: at the
least capacities of a group whatever it is given is feasible, at the largest nothing feasible
is lost.
"""

import heapq
from dataclasses import dataclass
from itertools import count
from typing import Self

import numpy as np

from solver.costs.capacity import grid, units_by_depth
from solver.costs.devices import Floats, Ints
from solver.problem import Problem

MOST_GROUPS = 1024


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
    group : array of int, shape (N,)
        That each device is in.
    """

    weights: Floats
    room: Ints
    steps: Ints
    group: Ints

    @classmethod
    def of(cls, problem: Problem, *, optimistic: bool) -> Self:
        """Group the devices of a problem; see `solver.costs.capacity` for `optimistic`."""
        room, steps = room_of_each(problem, optimistic=optimistic)
        rows, group = np.unique(room, axis=0, return_inverse=True)
        group = group.reshape(-1)
        weights = np.bincount(group, problem.weights).astype(np.float64)
        if len(rows) > MOST_GROUPS:
            rows, merged = _merged(rows, weights, optimistic=optimistic)
            group = merged[group]
            weights = np.bincount(group, problem.weights).astype(np.float64)
        return cls(weights=weights, room=rows, steps=steps, group=group)


def added(each: Floats, group: Ints) -> Floats:
    """Sum of a figure of the devices in each group, shape (F, G) from (N, F)."""
    total = np.zeros((group.max() + 1, each.shape[1]))
    np.add.at(total, group, each)
    return np.ascontiguousarray(total.T)


def room_of_each(problem: Problem, *, optimistic: bool) -> tuple[Ints, Ints]:
    """Room of every device, shape (N, L + 1), and layer sizes in units; as in `Rooms`."""
    costs, top = problem.costs, problem.question.rank_choices[-1]
    unit, steps = grid(costs.sizes, top, optimistic=optimistic)
    whole = int(steps.sum()) * top
    room = np.stack(units_by_depth(costs, unit, whole, optimistic=optimistic), axis=1)
    room[:, : problem.question.min_depth] = -1
    # More than all ranks at once, or less than the least of each, makes no difference.
    ends = np.append(0, np.cumsum(steps))
    room = np.where(room < ends * problem.question.rank_choices[0], -1, room)
    return np.minimum(room, ends * top), steps


def _merged(rows: Ints, weights: Floats, *, optimistic: bool) -> tuple[Ints, Ints]:
    """At most `MOST_GROUPS` groups, and which of them each row is in.

    The group that merging costs most is halved, again and again, between the least and the
    greatest capacity at the depth where those lie furthest apart.
    """
    order = count()
    heap: list[tuple[float, int, Ints]] = []

    def put(group: Ints) -> None:
        apart = np.ptp(rows[group], axis=0)
        loss = float(weights[group].sum()) * int(apart.sum())
        heapq.heappush(heap, (-loss, next(order), group))

    put(np.arange(len(rows)))
    while len(heap) < MOST_GROUPS and heap[0][0] < 0:
        group = heapq.heappop(heap)[2]
        held = rows[group]
        at = held[:, int(np.argmax(np.ptp(held, axis=0)))]
        above = 2 * at > int(at.min()) + int(at.max())
        put(group[~above])
        put(group[above])
    extreme = np.max if optimistic else np.min
    merged, index = [], np.empty(len(rows), dtype=np.int64)
    for number, (_, _, group) in enumerate(heap):
        merged.append(extreme(rows[group], axis=0))
        index[group] = number
    return np.array(merged), index
