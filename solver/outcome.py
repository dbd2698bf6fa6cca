"""What a policy hands back: an allocation, a bound, and the method that proved it."""

from dataclasses import dataclass

from solver.allocation import Allocation
from solver.plan import Certificate, Objective, Question, Status

# A gap below this is rounding, not a better plan.
OPTIMAL_GAP = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """An allocation and what is proven of it.

    Parameters
    ----------
    allocation : Allocation
    value : float
        Objective value.
    bound : float or None
        No allocation of the same question is better; None if nothing was proven.
    method : str
        Method that found the allocation and the bound.
    question : Question or None
        What was answered, where a policy drops a budget that it does not know.
    target_gap : float
        Relative gap at which the method stops looking.
    """

    allocation: Allocation
    value: float
    bound: float | None
    method: str
    question: Question | None = None
    target_gap: float = 0.0

    def certificate(self, objective: Objective) -> Certificate:
        """Write the proof out, see `solver.plan.Certificate`."""
        gap = None if self.bound is None else relative_gap(self.value, self.bound, objective)
        return Certificate(
            status=self._status(gap),
            method=self.method,
            value=self.value,
            bound=self.bound,
            gap_fraction=gap,
        )

    def _status(self, gap: float | None) -> Status:
        if gap is None or gap > max(self.target_gap, OPTIMAL_GAP):
            return "feasible"
        return "optimal" if gap <= OPTIMAL_GAP else "gap_reached"


def relative_gap(value: float, bound: float, objective: Objective) -> float:
    """Distance of value and bound relative to the larger of the two, 0 or more."""
    better, worse = (value, bound) if objective == "time" else (bound, value)
    return max(0.0, (better - worse) / better) if better > 0 else 0.0
