"""Ranks of its own for every device, where costs per rank are out of proportion to the sizes.

One table for all devices (`solver.own`) then only brackets the truth. But with ranks of its own
a device at a depth is a knapsack by itself: priced (`solver.slopes.knapsacks`) and, where that
leaves much, closed by labels (`solver.slopes.labels`).
"""

from dataclasses import dataclass, field

import numpy as np

from solver.allocation import Allocation, deepest
from solver.costs.devices import Floats, Ints
from solver.costs.resource import TOLERANCE, Costs
from solver.deadline import expired
from solver.own import OwnRanks
from solver.problem import Problem
from solver.slopes.hulls import Hulls
from solver.slopes.knapsacks import Knapsacks
from solver.slopes.labels import closed

# Gap at which enough is known. Labels kept of a knapsack, few at first, and of all at once.
GAP = 1e-4
KEPT, LABELS = (100, 1000), 200_000


def plan_at_slopes(upper: OwnRanks, lower: OwnRanks) -> tuple[float, Allocation]:
    """Largest utility, at most, and who trains what.

    Parameters
    ----------
    upper, lower : OwnRanks
        Optimistic and conservative.
    """
    problem = upper.problem
    most, safe = upper.best(problem.costs), lower.best(problem.costs)
    state = _Search(
        problem=problem, depth=most.depth, bound=most.gain.copy(), gain=safe.gain.max(axis=0)
    )
    state.price()
    for kept in KEPT:
        state.close(kept)
    allocation = lower.allocation(safe, safe.gain.argmax(axis=0))
    better = np.array(list(state.ranks), dtype=np.int64)
    row = allocation.row.copy()
    row[better] = len(allocation.rows) + np.arange(len(better))
    rows = np.array([*allocation.rows, *state.ranks.values()])
    found = Allocation(rows=rows, row=row, depth=deepest(problem.costs, rows, row))
    return state.most(), found


@dataclass(slots=True, kw_only=True)
class _Search:
    """What is known of every device.

    Parameters
    ----------
    problem : Problem
    depth : array of int, shape (K,)
    bound : array, shape (K, N)
        On what a device gains at a depth; minus infinity where it cannot.
    gain : array, shape (N,)
        What it is known to gain; minus infinity if nothing is known.
    ranks : dict of int to array of shape (L,)
        Ranks that gain it, by device, where `knapsacks` found them.
    """

    problem: Problem
    depth: Ints
    bound: Floats
    gain: Floats
    ranks: dict[int, Ints] = field(default_factory=dict)

    def most(self) -> float:
        """Bound on the utility; devices without an answer add nothing."""
        return self._sum(self.bound.max(axis=0))

    def price(self) -> None:
        """Look at the knapsacks by their prices."""
        at, device = self._open()
        knapsacks = knapsacks_of(self.problem, self.problem.costs, self.depth[at], device)
        prices, least, choice = knapsacks.keeping()
        fits = np.isfinite(least)
        self._lower(at, device, least)
        choice = knapsacks.filled(choice)
        gained = np.where(fits, knapsacks.gained(choice), -np.inf)
        self._take(knapsacks, device, choice, gained)
        open_ = fits & (least > self.gain[device])
        _, least = knapsacks[open_].descended(prices[:, open_], self.gain[device[open_]])
        self._lower(at[open_], device[open_], least)

    def close(self, kept: int) -> None:
        """Set labels where most is open, so many of each knapsack."""
        at, device = self._open()
        at, device = at[: LABELS // kept], device[: LABELS // kept]
        knapsacks = knapsacks_of(self.problem, self.problem.costs, self.depth[at], device)
        prices, _, _ = knapsacks.keeping()
        aims = self.gain[device]
        prices, _ = knapsacks.descended(prices, aims)
        found = closed(knapsacks, prices, aims, kept)
        self._lower(at, device, found.bound)
        self._take(knapsacks, device, found.choice, found.gained)

    def _open(self) -> tuple[Ints, Ints]:
        """Depths and devices that may yet gain, most open first; none where little is."""
        weights = self.problem.weights
        known = np.where(np.isneginf(self.gain), 0.0, self.gain)
        left = weights * (np.maximum(self.bound, known) - known).max(axis=0)
        order = np.argsort(-left, kind="stable")
        # What the last ones leave open together is less than is asked for.
        rest = np.cumsum(left[order[::-1]])[::-1]
        order = order[rest > GAP * self._sum(self.gain)]
        if expired():
            order = order[:0]
        device, at = np.nonzero((self.bound > self.gain).T[order] & (self.depth > 0))
        return at, order[device]

    def _sum(self, each: Floats) -> float:
        return float(np.dot(self.problem.weights, np.where(np.isneginf(each), 0.0, each)))

    def _lower(self, at: Ints, device: Ints, bound: Floats) -> None:
        self.bound[at, device] = np.minimum(self.bound[at, device], bound)

    def _take(self, knapsacks: Knapsacks, device: Ints, choice: Ints, gained: Floats) -> None:
        """Keep the best ranks of each device, if they are better."""
        rows = np.where(knapsacks.deep, self.problem.ranks[choice], 0)
        for one in np.argsort(-gained, kind="stable"):
            who = int(device[one])
            if gained[one] > self.gain[who]:
                self.gain[who], self.ranks[who] = gained[one], rows[one]


def knapsacks_of(problem: Problem, costs: Costs, depth: Ints, device: Ints) -> Knapsacks:
    """A knapsack for each device at a depth, both of shape (P,)."""
    c, deep = costs.devices.class_index[device], np.arange(problem.layers) < depth[:, None]
    slopes, rooms = list[Floats](), list[Floats]()
    for q in costs.resources:
        each = q[device]
        slope = each.scale[:, None] * q.per_rank[c] + each.wire[:, None] * costs.sizes
        if each.flat is not None:
            slope += each.flat[:, None]
        slope[~deep] = 0.0
        room = each.limit * (1 + TOLERANCE) - each.offset - each.fixed(c, depth)
        # What has no limit is never used up.
        rooms.append(np.minimum(room, 2 * slope.sum(axis=1) * problem.ranks[-1]))
        slopes.append(slope)
    return Knapsacks(
        hulls=Hulls.of(problem.gains, problem.ranks),
        slope=np.array(slopes).reshape(len(slopes), len(device), problem.layers),
        room=np.array(rooms).reshape(len(rooms), len(device)),
        deep=deep,
    )
