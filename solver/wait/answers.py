"""What devices answer to a deadline, each for itself: the ways between which a plan chooses."""

from dataclasses import dataclass
from typing import Protocol

from solver.allocation import Allocation
from solver.costs.devices import Floats, Ints
from solver.costs.resource import Costs


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What devices may do, M ways each.

    Parameters
    ----------
    depth : array of int, shape (M,)
    row : array of int, shape (M, N)
        Ranks, as whoever answers numbers them.
    parameters : array, shape (M, N)
        LoRA parameters, at most; infinite where nothing is known.
    gain : array, shape (M, N)
        Of the device alone; minus infinity where it may not.
    own_s : array, shape (M, N), or None
        Own time, at most; None where all that is known is `parameters`.
    """

    depth: Ints
    row: Ints
    parameters: Floats
    gain: Floats
    own_s: Floats | None = None


class Answering(Protocol):
    """Devices that answer a deadline each for itself, with ranks of one kind."""

    def most(self, costs: Costs) -> Answers:
        """More than any plan, under some limits: best gain and largest prefix sum by depth."""

    def answers(self, costs: Costs) -> Answers:
        """What plans are made of: by depth, the best gain and the largest prefix sum."""

    def allocation(self, answers: Answers, chosen: Ints) -> Allocation:
        """What devices train that choose these answers, shape (N,)."""
