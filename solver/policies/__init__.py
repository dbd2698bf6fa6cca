"""Ways to plan, one file each, all answering the same question with an ordinary plan."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from profiler.schema import InputError

if TYPE_CHECKING:
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

    plan: "Callable[[Problem], Outcome]"
    summary: str


# A name after a dash is a variant: function `plan_variant` of the policy's file.
POLICIES = {
    "exact": "the best plan, proven (ours)",
    "legend": "shared ranks rising to the output, each device as deep as it can",
    "fedlora": "all layers, one rank that everybody affords",
    "fedlora-exclusive": "all layers, one rank; who cannot afford it is left out",
    "fedlora-straggler": "all layers at rank 8; the slowest is waited for",
    "hetlora": "all layers, each device at the largest rank it affords",
    "flexlora": "devices plan as in hetlora; the server aggregates by SVD",
    "flora": "ranks by device, stacked: everybody downloads everybody's adapters",
    "fedadapter": "one depth and one rank that everybody affords",
    "fedhello": "depth groups (1/2, 3/4, all layers) by capability, one rank",
    "hralora": "all layers, ranks by gain within memory and traffic; late is left out",
    "hralora-straggler": "the same, and the late are waited for",
    "fedquad": "each device as deep as it can, one rank",
    "fedra": "a random depth within each device's means, one rank",
}
_RANDOM = ("fedra",)


def policy(name: str, seed: int = 0) -> Policy:
    """Look a policy up by name; raises `InputError` for one that does not exist.

    Parameters
    ----------
    name : str
    seed : int
        Of those that choose at random.
    """
    if name not in POLICIES:
        raise InputError(f"no policy '{name}'; expected one of {', '.join(POLICIES)}")
    if seed < 0:
        raise InputError(f"seed is {seed}; expected 0 or more")
    base, _, variant = name.partition("-")
    module = import_module(f"solver.policies.{base}")
    plan = getattr(module, f"plan_{variant}" if variant else "plan")
    if name in _RANDOM:
        plan = partial(plan, seed=seed)
    return Policy(plan=plan, summary=POLICIES[name])


def described() -> str:
    """All policies with what they do, a line each, as help text that is not wrapped."""
    width = max(map(len, POLICIES))
    lines = (f"  {name:<{width}}  {summary}" for name, summary in POLICIES.items())
    return "\n".join(("\b", "Policies:", *lines))
