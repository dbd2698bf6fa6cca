"""Capped ranks: shared ranks, of which a device may take no more than a cap of its own.

Device i adapts its last k_i layers at ranks ``min(r_l, cap_i)``. For given ranks every device
answers alone: the depth and the largest cap there that fits, of largest gain. So the search
is over the shared ranks only, one layer at a time with all devices answering, from several
starts, the best shared plan among them (a cap at the largest rank is no cap). The bound is
that of `solver.capped.bound`, or of ranks of its own for every device where that is lower.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from solver.allocation import LEFT_OUT, Allocation, device_gains, prefix_sums, utility
from solver.capped.bound import GAP, QUICK_WORK, WORK, lagrangian_bound
from solver.capped.climb import best_ranks
from solver.costs.devices import Floats, Ints
from solver.costs.resource import Costs
from solver.errors import Infeasible
from solver.least import least_allocation
from solver.outcome import Outcome, relative_gap
from solver.problem import Problem
from solver.slopes.rooms import Rooms
from solver.uniform import largest_that_fit
from solver.wait.answers import Answers
from solver.wait.limit import within_wait

# Relative gap that is good enough; the search for a bound goes on to a tenth of it.
PROMISED_GAP = 1e-3


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
        depths, size = self._depths(), prefix_sums(self.rows * costs.sizes)
        cap = largest_that_fit(costs, self.rows, depths)
        row, k = cap.clip(0), depths[:, None]
        gain = np.where(cap >= 0, self.gains[row, k], -np.inf)
        return Answers(depth=depths, row=row, parameters=size[row, k], gain=gain)

    # A larger cap gains more and takes longer: no plan has more than the largest.
    most = answers

    def allocation(self, answers: Answers, chosen: Ints) -> Allocation:
        """What devices train that choose these answers, shape (N,)."""
        row = answers.row[chosen, np.arange(len(chosen))]
        return Allocation(rows=self.rows, row=row, depth=answers.depth[chosen])

    def best(self, answers: Answers) -> Allocation:
        """Each device's answer of most gain, the shallowest of them; -1 deep without one."""
        left_out = np.isneginf(answers.gain.max(axis=0, initial=-np.inf))
        if left_out.all():
            row = np.zeros(len(left_out), dtype=np.int64)
            return Allocation(rows=self.rows, row=row, depth=np.full_like(row, LEFT_OUT))
        found = self.allocation(answers, answers.gain.argmax(axis=0))
        return replace(found, depth=np.where(left_out, LEFT_OUT, found.depth))

    def _depths(self) -> Ints:
        least, most = self.problem.question.min_depth, int((self.rows[-1] > 0).sum())
        return np.arange(least, most + 1)


def plan_capped(
    problem: Problem, start: Outcome | Infeasible, most: float, *, thorough: bool
) -> Outcome:
    """Find shared ranks, depths and caps of large utility, with a bound.

    Parameters
    ----------
    problem : Problem
    start : Outcome or Infeasible
        A plan of the same question with shared ranks, or why none was found.
    most : float
        Utility that no plan with ranks of their own for every device exceeds.
    thorough : bool
        Whether to take seconds for a tight bound.
    """
    known = start.allocation if isinstance(start, Outcome) else None
    least = least_allocation(problem) if known is None else known
    # What nobody adapts has no rank, and takes nothing from a budget on the ranks.
    adapted = np.arange(problem.layers) < least.depth.max()
    ranks = best_ranks(problem, np.where(adapted, least.rows[0], 0))
    kept = [each for each in (_finished(problem, ranks), known) if each is not None]
    if not kept and isinstance(start, Infeasible):
        raise start
    allocation = max(kept, key=lambda each: utility(problem, each))
    value = utility(problem, allocation)
    bound = most
    if relative_gap(value, most, "utility") > GAP:
        rooms, work = Rooms.of(problem, optimistic=True), WORK if thorough else QUICK_WORK
        bound = min(bound, lagrangian_bound(problem, rooms, ranks, value, work))
    return Outcome(
        allocation=allocation,
        value=value,
        bound=max(bound, value),
        method="search over ranks with caps, bound by Lagrangian decomposition",
        target_gap=PROMISED_GAP,
    )


def _finished(problem: Problem, ranks: Ints) -> Allocation | None:
    """Every device's answer to the ranks, within the mean wait; None if one has none."""
    found = answer(problem, ranks)
    short = (found.depth < problem.question.min_depth).any()
    return None if short else within_wait(problem, found)


def answer(problem: Problem, ranks: Ints) -> Allocation:
    """Best depth and cap of every device for given shared ranks, by the true costs.

    Parameters
    ----------
    problem : Problem
    ranks : array of int, shape (L,)
        From the output; 0 where nobody may adapt the layer.
    """
    capped = CappedRanks.of(problem, ranks)
    return capped.best(capped.answers(problem.costs))
