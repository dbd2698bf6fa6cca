"""What can go wrong while planning.

::

    Exception
    ├── InputError    bad input (exit code 2), see `profiler.schema`
    │   └── FleetError    a fleet's figure that no plan can be made with
    ├── Infeasible    no plan keeps every budget (exit code 3), or none was found (4)
    └── Stopped       the method ended before it had a plan (exit code 4)
"""

from dataclasses import dataclass, field

from profiler.schema import InputError


class FleetError(InputError):
    """A figure of a fleet that cannot be computed with.

    The message names the device or class; whoever read the fleet from a file names that.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """A device that a budget shuts out even at its least configuration."""

    device: str
    constraint: str
    unit: str
    need: float
    limit: float


@dataclass(slots=True, kw_only=True)
class Infeasible(Exception):
    """No plan keeps every budget, or none was found that does.

    Parameters
    ----------
    reason : str
        One line, without what is known of it: the device, the need, the limit and the nearest
        repair.
    shortfalls : list of Shortfall
        Every device and constraint that fails at the least configuration, worst first.
    least_round_time_s : float or None
        Smallest round time at which the other budgets can be kept; None if none is.
    repair : str
        The cheapest change that makes a plan possible.
    proven : bool
        Whether there is none; else none was found, and the exit code is 4.
    """

    reason: str
    shortfalls: list[Shortfall] = field(default_factory=list)
    least_round_time_s: float | None = None
    repair: str = ""
    proven: bool = True

    @property
    def exit_code(self) -> int:
        """3 where there is no plan; 4 where that is not proven."""
        return 3 if self.proven else 4

    def __str__(self) -> str:
        known = "infeasible" if self.proven else "no plan found (not proven infeasible)"
        return f"{known}: {self.reason}"


class Stopped(Exception):
    """A method ended with neither a plan nor a proof that there is none; says what to do.

    Parameters
    ----------
    reason : str
    bound : float, optional
        What it proved all the same: no plan has a better objective value.
    """

    exit_code = 4

    def __init__(self, reason: str, *, bound: float | None = None) -> None:
        super().__init__(reason)
        self.bound = bound
