"""Good shared ranks for devices with caps that are to keep a mean wait.

For given shared ranks the best round time is found by `solver.wait.deadlines`, and for a given
round time shared ranks are climbed to, first as if nobody minded the wait, then with a price
on own time (`solver.wait.capped_climb`), and so on until nothing improves. What is left is
polished layer by layer at the round time found.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from solver.allocation import Allocation, round_time_s, utility
from solver.capped.climb import best_ranks
from solver.capped.plan import CappedRanks
from solver.costs.devices import Ints
from solver.deadline import expired
from solver.errors import Infeasible
from solver.least import least_allocation
from solver.outcome import Outcome
from solver.own import most_of_own
from solver.problem import Problem
from solver.wait.answers import Answering
from solver.wait.capped_climb import waiting_ranks
from solver.wait.deadlines import Effort, kept_within, latest_s, search_deadlines

# Most turns of shared ranks and round time, and what one must gain, relatively.
TURNS, TURN_GAP = 6, 5e-5
USUAL, HURRIED = Effort(gap=TURN_GAP), Effort(gap=TURN_GAP, looks=30, without=100)
# Where the wait costs no more than this, ranks that minded it would gain next to nothing.
LITTLE = 1e-3
# Ranks that others are raised to.
RAISED = 10
# Cells (device, layer) of all looks while layers are polished.
POLISHED = 2_000_000
# Rank choices by which one layer is changed then, one after the other.
STEPS = (1, -1, 4, -4)


@dataclass(slots=True, kw_only=True)
class CappedSearch:
    """The best plan so far, and the shared ranks it was found with.

    Parameters
    ----------
    problem : Problem
    most : float
        Utility that no plan exceeds.
    own : Answering
        Devices with ranks of their own, which can do whatever they can with caps.
    epsilon_s : float
        Largest mean wait, seconds.
    ranks : array of int, shape (L,)
        From the output; 0 where nobody adapts the layer.
    best : Allocation or None
    value : float
        Its utility; minus infinity without one.
    tried : set of bytes
        Ranks that were offered.
    """

    problem: Problem
    most: float
    own: Answering
    epsilon_s: float
    ranks: Ints
    best: Allocation | None = None
    value: float = -np.inf
    tried: set[bytes] = field(default_factory=set)

    @classmethod
    def of(cls, problem: Problem, start: Outcome | Infeasible, epsilon_s: float) -> Self:
        """Begin with a plan of shared ranks, or with why none was found."""
        most, own = most_of_own(problem)
        best = start.allocation if isinstance(start, Outcome) else None
        least = least_allocation(problem) if best is None else best
        # What nobody adapts has no rank, and takes nothing from a budget on the ranks.
        adapted = np.arange(problem.layers) < least.depth.max()
        ranks = best_ranks(problem, np.where(adapted, least.rows[0], 0))
        found = cls(problem=problem, most=most, own=own, epsilon_s=epsilon_s, ranks=ranks)
        if best is not None:
            found.best, found.value = best, utility(problem, best)
        return found

    def run(self) -> None:
        """Look until nothing improves."""
        longest_s = self.problem.question.budgets.round_time_s
        if not self._turns(self.ranks):
            # Ranks that are best where nobody minds the wait leave the fastest too little.
            for each in self._raised():
                self.offer(each, HURRIED)
        if self._waits_cheaply():
            return
        if longest_s is not None:
            self._priced(longest_s)
        for _ in range(TURNS):
            if self.best is None or not self._priced(round_time_s(self.problem, self.best)):
                break
        self._polish()

    def offer(self, ranks: Ints, effort: Effort) -> bool:
        """Whether what devices train at these ranks keeps the wait and is the best so far."""
        if ranks.tobytes() in self.tried or expired():
            return False
        self.tried.add(ranks.tobytes())
        capped = CappedRanks.of(self.problem, ranks)
        free = capped.best(capped.answers(self.problem.costs))
        found, _ = search_deadlines(
            self.problem, capped, capped, free, self.most, self.epsilon_s, effort
        )
        return self._take(found, ranks)

    def _take(self, found: Allocation | None, ranks: Ints) -> bool:
        if found is None or utility(self.problem, found) <= self.value:
            return False
        self.best, self.value, self.ranks = found, utility(self.problem, found), ranks
        return True

    def _turns(self, ranks: Ints) -> bool:
        """Ranks that are best at a round time without the wait; whether they are good."""
        for turn in range(TURNS):
            if not self.offer(ranks, USUAL):
                return turn > 0
            assert self.best is not None
            within = self.problem.under(round_time_s=round_time_s(self.problem, self.best))
            ranks = best_ranks(within, ranks)
        return True

    def _raised(self) -> Iterator[Ints]:
        """Ranks no smaller than each of a few, wherever there are any."""
        problem, ranks = self.problem, self.ranks
        if problem.question.budgets.rank_budget is None:
            places = np.linspace(0, len(problem.ranks) - 1, RAISED).round().astype(np.int64)
            for least in problem.ranks[np.unique(places)].tolist():
                yield np.where(ranks > 0, np.maximum(ranks, least), 0)

    def _waits_cheaply(self) -> bool:
        """Whether little more is gained without the wait in any round that is worth as much."""
        if self.best is None:
            return False
        last_s = latest_s(self.problem, self.own, self.value, self.epsilon_s)
        if last_s is None:
            return True
        within = self.problem.under(round_time_s=last_s, mean_wait_s=None)
        capped = CappedRanks.of(within, best_ranks(within, self.ranks))
        free = utility(within, capped.best(capped.answers(within.costs)))
        return free <= self.value * (1 + LITTLE)

    def _priced(self, round_s: float) -> bool:
        """Ranks with a price on own time; whether they are better by more than a little."""
        before = self.value
        for ranks in waiting_ranks(self.problem, round_s, self.ranks, self.epsilon_s):
            self.offer(ranks, HURRIED)
        return self.value > before + TURN_GAP * abs(before)

    def _polish(self) -> None:
        """Change one layer at a time to a rank near its own, at the round time found."""
        problem = self.problem
        looks = POLISHED // (len(problem.costs.devices) * problem.layers)
        improved = self.best is not None
        while improved:
            improved = False
            for layer in range(int((self.ranks > 0).sum())):
                for step in STEPS:
                    near = self._near(layer, step)
                    if near is None:
                        continue
                    if looks <= 0 or expired():
                        return
                    looks -= 1
                    assert self.best is not None
                    capped = CappedRanks.of(problem, near)
                    deadline_s = round_time_s(problem, self.best)
                    found = kept_within(problem, capped, deadline_s, self.epsilon_s)
                    improved |= self._take(found, near)

    def _near(self, layer: int, step: int) -> Ints | None:
        """The ranks with that of a layer so many choices further; None where there is none."""
        choices, budget = self.problem.ranks, self.problem.question.budgets.rank_budget
        at = int(np.searchsorted(choices, self.ranks[layer])) + step
        near = self.ranks.copy()
        near[layer] = choices[min(max(at, 0), len(choices) - 1)]
        beyond = budget is not None and near.sum() > budget
        return None if beyond or near[layer] == self.ranks[layer] else near
