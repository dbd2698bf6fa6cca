"""What a policy hands back: an allocation, a bound, and the method that proved it."""

from dataclasses import dataclass

from solver.allocation import Allocation
from solver.plan import Certificate, Objective, Question

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
    """

    allocation: Allocation
    value: float
    bound: float | None
    method: str
    question: Question | None = None

    def certificate(self, objective: Objective) -> Certificate:
        """Write the proof out, see `solver.plan.Certificate`."""
        gap = None if self.bound is None else relative_gap(self.value, self.bound, objective)
        optimal = gap is not None and gap <= OPTIMAL_GAP
        return Certificate(
            status="optimal" if optimal else "feasible",
            method=self.method,
            value=self.value,
            bound=self.bound,
            gap_fraction=gap,
        )


def relative_gap(value: float, bound: float, objective: Objective) -> float:
    """Distance of value and bound relative to the larger of the two, 0 or more."""
    better, worse = (value, bound) if objective == "time" else (bound, value)
    return max(0.0, (better - worse) / better) if better > 0 else 0.0
