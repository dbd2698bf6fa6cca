"""What searches under shared links hand on: the best plan, and ranks with caps."""

from dataclasses import dataclass, field

from solver.allocation import Allocation, utility
from solver.costs.devices import Floats, Ints
from solver.links.copies import Copies
from solver.links.pool import Prices
from solver.problem import Problem
from solver.wait.limit import keeps_wait, limit_wait

# Deadlines that a plan whose devices wait too long is cut to.
DEADLINES = 48


@dataclass(slots=True, kw_only=True)
class Caps:
    """What is known of capped ranks.

    Parameters
    ----------
    ranks : array of int, shape (L,), or None
        The best shared ranks so far.
    value : float
        What the linear program makes of them.
    prices : Prices or None
        Its prices there.
    copies : Copies or None
        Groups of devices, and multipliers under which the bound was lowest.
    """

    ranks: Ints | None = None
    value: float = 0.0
    prices: Prices | None = None
    copies: Copies | None = None
    multipliers: Floats | None = None


@dataclass(slots=True, kw_only=True)
class Best:
    """The best plan so far that keeps every limit."""

    problem: Problem
    allocation: Allocation | None = None
    value: float = 0.0
    caps: Caps = field(default_factory=Caps)

    def offer(self, found: Allocation) -> None:
        """Take a plan that is better; the caller sees to the limits but the wait."""
        if self.allocation is not None and utility(self.problem, found) <= self.value:
            return
        epsilon_s = self.problem.question.budgets.mean_wait_s
        if epsilon_s is not None and not keeps_wait(self.problem, found):
            # Fewer layers send no more, so every link is kept.
            shorter = limit_wait(self.problem, found, epsilon_s, DEADLINES)
            if shorter is None:
                return
            found = shorter
        value = utility(self.problem, found)
        if self.allocation is None or value > self.value:
            self.allocation, self.value = found, value
