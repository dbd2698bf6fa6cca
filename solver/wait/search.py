"""Most utility under a mean wait, proven: branch on the round time and on prefix sums.

With T the realised round time, c_i the counts, C their sum and epsilon the budget, the wait
is kept exactly when the devices' own times add up to enough:

    sum_i c_i t_i  >=  C (T - epsilon).

For all T in an interval, `solver.wait.relax` makes of this a longest path with one side
constraint, and `solver.wait.price` bounds it with a price on own times. What the price leaves
open has two causes. T itself is uncertain: the interval is halved. Or two paths, one of which
waits too long, are better mixed than any path is: the prefix sums at the depth where they lie
farthest apart are halved. Nodes that cannot beat the incumbent are cut off, the program
shrinks to a narrow band, and label setting (`solver.wait.labels`) finishes it. Every path on
the way is made a plan by `solver.wait.limit.limit_wait`.
"""

import heapq
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np
import numpy.typing as npt

from solver.allocation import Allocation, longest_round_s, round_time_s, shared
from solver.costs.capacity import exact
from solver.costs.devices import Floats, Ints
from solver.deadline import expired
from solver.dp.completions import completions
from solver.least import least_round_time_s
from solver.problem import Problem
from solver.wait.incumbent import Incumbent
from solver.wait.labels import Ahead, best_ranks
from solver.wait.parts import Part, alive_band, cut_band, halves
from solver.wait.price import Lines, Priced, best_price
from solver.wait.relax import Relaxed, under_deadline
from solver.wait.shaped import shaped_bound

# Gap at which a search that cannot prove more stops, and one that can: rounding.
GAP, EXACT_GAP = 1e-4, 5e-10
# Work of one search, in cells of tables: by work, not by the clock, so that the plan is the
# same on every machine. A device at a depth costs as much as some cells.
WORK, DEVICE_CELLS = 2e10, 20
FEWEST, MOST_GENERAL, MOST = 24, 120, 4000
# Round times this close, relatively, are told apart only where everything else is settled.
NEAR, SAME = 2e-4, 1e-12
# Nodes alive at which labels are set.
FEW_NODES = 600
# Prices at which labels are bounded beside the best one, as shares of it.
FACTORS = (0.25, 4.0)
# Bytes of deadlines' tables that are kept, as the parts of an interval share one, and fewest.
KEPT_BYTES, DEADLINES = 1.5e8, 4


@dataclass(slots=True, kw_only=True)
class _Search(Incumbent):
    """Incumbent and what was seen so far.

    Parameters
    ----------
    gap : float
        Relative gap at which to stop.
    pool : list of array of int
        Rank vectors that were good last.
    """

    gap: float
    pool: list[Ints] = field(default_factory=list)
    deadlines: dict[float, Relaxed | None] = field(default_factory=dict)
    kept_bytes: int = 0

    @property
    def floor(self) -> float:
        """Bounds up to here are settled."""
        return self.value + self.gap * abs(self.value)

    def offer_all(self, lines: Lines) -> None:
        """Try all ranks that could be better; those that wait too long even here, elsewhere."""
        for gain, spare_s, ranks in zip(lines.gain, lines.spare_s, lines.ranks, strict=True):
            if gain > self.floor and spare_s >= 0:
                self.offer(ranks)

    def relaxed(self, deadline_s: float) -> Relaxed | None:
        """Return the problem under a deadline, kept from the last time if there is room."""
        if deadline_s in self.deadlines:
            relaxed = self.deadlines.pop(deadline_s)
        else:
            relaxed = Relaxed.at(self.problem, deadline_s)
            self.kept_bytes += relaxed.nbytes if relaxed else 0
        self.deadlines[deadline_s] = relaxed
        while len(self.deadlines) > DEADLINES and self.kept_bytes > KEPT_BYTES:
            oldest = self.deadlines.pop(next(iter(self.deadlines)))
            self.kept_bytes -= oldest.nbytes if oldest else 0
        return relaxed


def search(
    problem: Problem, unlimited: Allocation, upper: float, epsilon_s: float
) -> tuple[Allocation | None, float]:
    """Find shared ranks and depths that keep the mean wait.

    Parameters
    ----------
    problem : Problem
        Shared ranks.
    unlimited : Allocation
        Best allocation without the wait.
    upper : float
        Its bound.
    epsilon_s : float
        Largest mean wait, seconds.

    Returns
    -------
    tuple of (Allocation or None, float)
        Best allocation found, and a bound on the utility of every one that keeps the wait:
        minus infinity where there is none.
    """
    question = problem.question
    provable = question.rank_shape == "free" and exact(
        problem.costs, question.rank_choices[-1], question.min_depth
    )
    state = _Search(problem=problem, epsilon_s=epsilon_s, gap=EXACT_GAP if provable else GAP)
    state.consider(unlimited)
    start_s = least_round_time_s(problem)
    if start_s is None:
        return state.allocation, upper
    order, settled = count(), -np.inf
    # (minus the bound, a number, the part); parts inherit the bound of their whole.
    queue = [(-upper, next(order), Part(start_s=start_s, end_s=_longest_s(problem)))]
    for _ in range(_parts(problem, provable=provable)):
        if not queue or -queue[0][0] <= state.floor or expired():
            break
        above, _, part = heapq.heappop(queue)
        bound, parts = _branch(state, part)
        bound = min(bound, -above)
        if bound > state.floor and not parts:
            settled = max(settled, bound)
        for each in parts:
            heapq.heappush(queue, (-bound, next(order), each))
    if state.allocation is None:
        _try_even_ranks(state)
    bound = max(-queue[0][0] if queue else -np.inf, settled)
    if state.allocation is None:
        return None, bound
    return state.allocation, min(max(bound, state.value), upper)


def _try_even_ranks(state: _Search) -> None:
    """Look for any plan at all among ranks that are the same in all layers they reach."""
    budget = state.problem.question.budgets.rank_budget
    for rank in state.problem.ranks.tolist():
        ranks = np.full(state.problem.layers, rank, dtype=np.int64)
        if budget is not None:
            ranks[budget // rank :] = 0
        state.offer(ranks)


def _longest_s(problem: Problem) -> float:
    """A round time that no plan passes: `unlimited` may well be shorter than the best one."""
    budget_s = problem.question.budgets.round_time_s
    longest_s = longest_round_s(problem)
    return longest_s if budget_s is None else min(longest_s, budget_s)


def _parts(problem: Problem, *, provable: bool) -> int:
    """How many parts to bound; where costs are no lines, halving more soon gains nothing."""
    layers, ranks = problem.gains.shape
    cells = layers * ranks * int(problem.ranks[-1]) * layers
    devices = len(problem.costs.devices) * layers * DEVICE_CELLS
    most = MOST if provable else MOST_GENERAL
    return int(np.clip(WORK / (3 * cells + devices), FEWEST, most))


def _branch(state: _Search, part: Part) -> tuple[float, list[Part]]:
    """Bound a part; if that does not settle it, cut it in two."""
    nothing = -np.inf
    relaxed = state.relaxed(part.end_s)
    if relaxed is None:
        return nothing, []
    needed_s = relaxed.needed_s(part.start_s, state.epsilon_s)
    if state.problem.question.rank_shape != "free":
        return _branch_shaped(state, relaxed, part, needed_s)
    priced = best_price(relaxed, needed_s, part.band, state.pool, state.floor)
    if priced is None:
        return nothing, []
    state.offer_all(priced.lines)
    if priced.bound <= state.floor:
        return priced.bound, []
    table, least = priced.table, state.problem.question.min_depth
    back = completions(table, least)
    alive = table.flat + back - priced.price * needed_s > state.floor
    bound, cut = priced.bound, None
    if np.count_nonzero(alive) < FEW_NODES:
        ahead = _ahead(relaxed, priced, back, alive)
        found = best_ranks(relaxed, table, ahead, needed_s, state.floor)
        bound, cut = min(bound, found.bound), found.ranks
        if cut is not None:
            state.offer(cut)
    if bound <= state.floor:
        return bound, []
    within = replace(part, band=alive_band(table, alive))
    return bound, _cut(state, relaxed, within, priced, cut)


def _branch_shaped(
    state: _Search, relaxed: Relaxed, part: Part, needed_s: float
) -> tuple[float, list[Part]]:
    """Bound a part where the ranks must rise; if that does not settle it, halve its times."""
    found = shaped_bound(relaxed, needed_s, state.pool, state.floor)
    if found is None:
        return -np.inf, []
    bound, lines = found
    state.offer_all(lines)
    if bound <= state.floor or part.end_s - part.start_s <= SAME * part.end_s:
        return bound, []
    return bound, halves(part)


def _ahead(
    relaxed: Relaxed, priced: Priced, back: Floats, alive: npt.NDArray[np.bool_]
) -> list[Ahead]:
    """What lies beyond the nodes that are alive, at the best price and at others."""
    ahead, band = [Ahead(price=priced.price, back=back)], alive_band(priced.table, alive)
    for factor in FACTORS if priced.price > 0 else ():
        table = relaxed.priced(factor * priced.price, band)
        # Nothing is alive at depths and prefix sums that the narrow table does not get to.
        beyond, narrow = np.full_like(back, -np.inf), table.flat.shape
        found = completions(table, relaxed.problem.question.min_depth)
        beyond[: narrow[0], : narrow[1]] = found
        ahead.append(Ahead(price=factor * priced.price, back=beyond))
    return ahead


def _cut(
    state: _Search, relaxed: Relaxed, part: Part, priced: Priced, found: Ints | None
) -> list[Part]:
    """Halve the round times or the prefix sums of a depth; nothing if neither is left."""
    if found is None:
        wide = part.end_s - part.start_s > NEAR * part.end_s
        apart = None if wide else cut_band(relaxed, part, priced)
        if apart is not None:
            return apart
    if part.end_s - part.start_s <= SAME * part.end_s:
        return []
    middle_s = (part.start_s + part.end_s) / 2
    if found is not None:
        # Longer than these ranks may take, and shorter than they do: they are in neither half.
        own_s = float(relaxed.reached(found[None])[1][0])
        most_s = relaxed.round_time_s(own_s, state.epsilon_s)
        costs = under_deadline(state.problem.costs, part.end_s)
        problem = replace(state.problem, costs=costs)
        between_s = (most_s + round_time_s(problem, shared(problem, found))) / 2
        middle_s = between_s if part.start_s < between_s < part.end_s else middle_s
    return [replace(part, end_s=middle_s), replace(part, start_s=middle_s)]
