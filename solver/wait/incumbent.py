"""The best plan so far that keeps a mean wait."""

from dataclasses import dataclass, field

from solver.allocation import Allocation, shared, utility
from solver.costs.devices import Ints
from solver.problem import Problem
from solver.wait.limit import limit_wait


@dataclass(slots=True, kw_only=True)
class Incumbent:
    """The best plan so far.

    Parameters
    ----------
    problem : Problem
    epsilon_s : float
        Largest mean wait, seconds.
    allocation : Allocation or None
    value : float
        Its utility; below that of any plan without one.
    tried : set of bytes
        Shared ranks that were offered.
    """

    problem: Problem
    epsilon_s: float
    allocation: Allocation | None = None
    value: float = -1.0
    tried: set[bytes] = field(default_factory=set)

    def offer(self, ranks: Ints) -> None:
        """Try shared ranks, shape (L,), if they are new."""
        if ranks.tobytes() not in self.tried:
            self.tried.add(ranks.tobytes())
            self.consider(shared(self.problem, ranks))

    def consider(self, candidate: Allocation) -> None:
        """Keep the best depths under an allocation's ranks, if they are better."""
        if (candidate.depth < self.problem.question.min_depth).any():
            return
        kept = limit_wait(self.problem, candidate, self.epsilon_s)
        if kept is not None and utility(self.problem, kept) > self.value:
            self.allocation, self.value = kept, utility(self.problem, kept)
