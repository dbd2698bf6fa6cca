"""Capped ranks under a mean wait: shared ranks and round times in turns.

For given shared ranks every device answers a deadline alone, with a depth and a cap, so
`solver.wait.deadlines` finds the best answers that keep the wait, and proves them. The shared
ranks are then climbed anew under the round time that was found, and so on until nothing
improves. The bound: with ranks of their own devices can do whatever they can with caps, so
round times at which those keep no wait, or are worth no more than the plan, are out; at the
longest that is left the wait is dropped, and the bound of `solver.capped_bound` holds.
"""

from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from solver.allocation import Allocation, device_gains, fits, round_time_s, utility
from solver.capped import PROMISED_GAP, answer, best_ranks
from solver.capped_bound import lagrangian_bound
from solver.devices import Floats, Ints
from solver.errors import Infeasible
from solver.explain import infeasible
from solver.least import least_allocation
from solver.outcome import Outcome
from solver.own import OwnRanks
from solver.problem import Problem
from solver.resource import Costs
from solver.rooms import Rooms
from solver.uniform import bisect_rows
from solver.wait.deadlines import Answers, latest_s, search_deadlines, shortest_wait

# Most turns of shared ranks and round time, and the gap of the answers in one.
TURNS, TURN_GAP = 6, 5e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class CappedRanks:
    """Shared ranks at every cap.

    Parameters
    ----------
    problem : Problem
    rows : array of int, shape (M, L)
        From the output, by rising cap.
    gains : array, shape (M, L + 1)
        Of a device, by row and depth.
    """

    problem: Problem
    rows: Ints
    gains: Floats

    @classmethod
    def of(cls, problem: Problem, ranks: Ints) -> Self:
        """Cap shared ranks, 0 where nobody may adapt the layer."""
        caps = problem.ranks[problem.ranks <= ranks.max(initial=problem.ranks[0])]
        rows = np.minimum(ranks, caps[:, None])
        return cls(problem=problem, rows=rows, gains=device_gains(problem, rows))

    def answers(self, costs: Costs) -> Answers:
        """By depth the largest cap under some limits."""
        n, depths = len(costs.devices), self._depths()
        size = np.pad(np.cumsum(self.rows * costs.sizes, axis=1), ((0, 0), (1, 0)))
        row = np.zeros((len(depths), n), dtype=np.int64)
        gain, parameters = np.full(row.shape, -np.inf), np.zeros(row.shape)
        for at, k in enumerate(depths.tolist()):
            cap = bisect_rows(n, len(self.rows), partial(fits, costs, self.rows, k=k))
            row[at] = cap.clip(0)
            gain[at] = np.where(cap >= 0, self.gains[row[at], k], -np.inf)
            parameters[at] = size[row[at], k]
        return Answers(depth=depths, row=row, parameters=parameters, gain=gain)

    # A larger cap gains more and takes longer: no plan has more than the largest.
    most = answers

    def allocation(self, answers: Answers, chosen: Ints) -> Allocation:
        """What devices train that choose these answers, shape (N,)."""
        row = answers.row[chosen, np.arange(len(chosen))]
        return Allocation(rows=self.rows, row=row, depth=answers.depth[chosen])

    def _depths(self) -> Ints:
        least, most = self.problem.question.min_depth, int((self.rows[-1] > 0).sum())
        return np.arange(least, most + 1)


def plan_capped_waiting(
    problem: Problem, start: Outcome | Infeasible, *, thorough: bool
) -> Outcome:
    """Find shared ranks, depths and caps that keep the mean wait, with a bound.

    Parameters
    ----------
    problem : Problem
    start : Outcome or Infeasible
        A plan of the same question with shared ranks, or why none was found.
    thorough : bool
        Whether to take seconds for a tight bound.

    Raises
    ------
    Infeasible
        Where no plan was found.
    """
    epsilon_s = problem.question.budgets.mean_wait_s
    assert epsilon_s is not None
    own = OwnRanks.of(problem, optimistic=True)
    most = own.plan()[0]
    best, ranks = _turns(problem, start, most, epsilon_s)
    value = -np.inf if best is None else utility(problem, best)
    last_s = latest_s(problem, own, value, epsilon_s)
    if best is None:
        raise infeasible(problem, waiting=waits_little(problem), proven=last_s is None)
    bound = value
    if last_s is not None:
        within = problem.under(round_time_s=last_s, mean_wait_s=None)
        rooms = Rooms.of(within, optimistic=True)
        own_bound = search_deadlines(problem, own, own, best, most, epsilon_s)[1]
        bound = min(own_bound, lagrangian_bound(within, rooms, ranks, value, thorough=thorough))
    return Outcome(
        allocation=best,
        value=value,
        bound=max(bound, value),
        method="search over ranks with caps and round times, bound by Lagrangian decomposition",
        target_gap=PROMISED_GAP,
    )


def waits_little(problem: Problem) -> Allocation:
    """A plan with the largest ranks, capped, that waits little; the least one at worst."""
    top, layers = problem.ranks[-1], problem.layers
    found = None
    if problem.question.budgets.rank_budget is None:
        found = shortest_wait(problem, CappedRanks.of(problem, np.full(layers, top)))
    return found or least_allocation(problem)


def _turns(
    problem: Problem, start: Outcome | Infeasible, most: float, epsilon_s: float
) -> tuple[Allocation | None, Ints]:
    """Best allocation found and the shared ranks it was found with."""
    best = start.allocation if isinstance(start, Outcome) else None
    least = least_allocation(problem) if best is None else best
    # What nobody adapts has no rank, and takes nothing from a budget on the ranks.
    adapted = np.arange(problem.layers) < least.depth.max()
    ranks = kept_ranks = best_ranks(problem, np.where(adapted, least.rows[0], 0))
    value = -np.inf if best is None else utility(problem, best)
    for _ in range(TURNS):
        capped = CappedRanks.of(problem, ranks)
        free = answer(problem, ranks)
        found, _ = search_deadlines(problem, capped, capped, free, most, epsilon_s, TURN_GAP)
        if found is None or utility(problem, found) <= value:
            break
        best, value, kept_ranks = found, utility(problem, found), ranks
        ranks = best_ranks(problem.under(round_time_s=round_time_s(problem, found)), ranks)
    return best, kept_ranks
