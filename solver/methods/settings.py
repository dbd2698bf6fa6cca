"""What a method may be told beside the problem."""

from dataclasses import dataclass

from profiler.schema import InputError
from solver.milp.run import Backend


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of all methods; each reads what concerns it.

    Parameters
    ----------
    backend : {'highs', 'cbc'}
        Solver of mixed-integer programs.
    seed : int
        Seed of every random choice.
    """

    backend: Backend = "highs"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; expected 0 or more")
