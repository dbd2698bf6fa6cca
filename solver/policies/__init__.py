"""Ways to plan, one file each, all answering the same question with an ordinary plan."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from profiler.schema import InputError
from solver.outcome import Outcome
from solver.problem import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A way to plan.

    Parameters
    ----------
    plan : callable
        Takes a problem, hands back an outcome; raises `Infeasible`.
    summary : str
        What it does, in one line.
    """

    plan: Callable[[Problem], Outcome]
    summary: str


POLICIES = ("exact", "legend", "fedlora", "fedlora-exclusive", "fedlora-straggler", "hetlora")


def policy(name: str) -> Policy:
    """Look a policy up by name; raises `InputError` for one that does not exist."""
    if name not in POLICIES:
        raise InputError(f"no policy '{name}'; expected one of {', '.join(POLICIES)}")
    base, _, variant = name.partition("-")
    module = import_module(f"solver.policies.{base}")
    plan = getattr(module, f"plan_{variant}" if variant else "plan")
    return Policy(plan=plan, summary=(plan.__doc__ or "").splitlines()[0])
