"""Ways to answer the exact policy's question, by name, one file each.

The exact ones prove their answer; the heuristics carry the exact solver's bound, so that
their gap says what they give away. All of them stop at a time limit of the user's
(`solver.deadline`) with the best plan so far; without one their work is bounded by counts.
"""

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Literal, get_args

from profiler.schema import InputError
from solver.deadline import within
from solver.methods.settings import Settings

if TYPE_CHECKING:
    from solver.milp.run import Backend
    from solver.outcome import Outcome
    from solver.problem import Problem

__all__ = [
    "HEURISTICS",
    "METHODS",
    "PROGRAM",
    "SUMMARIES",
    "Method",
    "described",
    "plan_with",
]

Method = Literal[
    "auto",
    "dp",
    "branch",
    "decomposition",
    "milp",
    "milp-disaggregated",
    "progression",
    "lcd",
    "local-search",
    "anneal",
]

METHODS: tuple[Method, ...] = get_args(Method)
SUMMARIES: dict[Method, str] = {
    "auto": "what suits the question, and says why",
    "dp": "dynamic program alone: exact for proportional costs, else between two bounds",
    "branch": "branch and bound on rank boxes, for costs out of proportion",
    "decomposition": "capped ranks: search, bounded by Lagrangian decomposition",
    "milp": "mixed-integer program: arc flow where it holds, disaggregated otherwise",
    "milp-disaggregated": "mixed-integer program, a variable per device, layer and rank",
    "progression": "heuristic: the best of all arithmetic progressions of ranks",
    "lcd": "heuristic: greedy by marginal utility per second, our reading of LEGEND",
    "local-search": "heuristic: one rank at a time, with kicks",
    "anneal": "heuristic: simulated annealing of the shared ranks",
}
HEURISTICS: tuple[Method, ...] = ("progression", "lcd", "local-search", "anneal")
# Those that hand a program to a solver, 'auto' only where that may help; and how a certificate
# says that one was run.
PROGRAMS: tuple[Method, ...] = ("auto", "milp", "milp-disaggregated")
PROGRAM = "mixed-integer program"
# Module and function of the methods that are not function `plan` of a module of their name.
_ELSEWHERE: dict[Method, tuple[str, str]] = {
    "milp-disaggregated": ("milp", "plan_disaggregated"),
    "local-search": ("local_search", "plan"),
}


def plan_with(
    problem: "Problem",
    *,
    method: Method = "auto",
    backend: "Backend | None" = None,
    seed: int = 0,
    time_limit_s: float | None = None,
) -> "Outcome":
    """Answer with a method of choice.

    Parameters
    ----------
    problem : Problem
    method : str
        One of `METHODS`.
    backend : {'highs', 'cbc'}, optional
        Solver of mixed-integer programs; None means 'highs'. Refused by a method that runs no
        program.
    seed : int
        Seed of every random choice.
    time_limit_s : float, optional
        Wall clock after which the method hands back the best so far.

    Returns
    -------
    Outcome
        Its method says where the time limit cut it short.

    Raises
    ------
    Infeasible
        If there is no plan.
    Stopped
        If the method ended with neither a plan nor a proof.
    InputError
        If the method does not answer this question.
    """
    if method not in METHODS:
        raise InputError(f"no method '{method}'; expected one of {', '.join(METHODS)}")
    if backend is not None and method not in PROGRAMS:
        raise InputError(
            f"method '{method}' runs no mixed-integer program, so it has no backend "
            f"'{backend}'; leave --backend out, or use --method milp"
        )
    name, function = _ELSEWHERE.get(method, (method, "plan"))
    plan = getattr(import_module(f"solver.methods.{name}"), function)
    with within(time_limit_s) as clock:
        found: Outcome = plan(problem, Settings(backend=backend or "highs", seed=seed))
        if method in HEURISTICS:
            found = _bounded(problem, found, method)
    if clock.cut_short:
        found = replace(found, method=f"{found.method}; cut short by the time limit")
    return found


def described() -> str:
    """All methods with what they do, a line each, as help text that is not wrapped."""
    width = max(map(len, METHODS))
    lines = (f"  {name:<{width}}  {SUMMARIES[name]}" for name in METHODS)
    return "\n".join(("\b", "Methods of policy 'exact':", *lines))


def _bounded(problem: "Problem", found: "Outcome", method: str) -> "Outcome":
    """A heuristic's plan with the exact solver's bound; it must keep the shared links too."""
    from solver.errors import Infeasible, Stopped
    from solver.exact import maximise_utility, utility_bound
    from solver.links.said import overloaded

    broken = overloaded(problem, found.allocation, least=False, method=method)
    if broken is not None:
        raise broken
    try:
        bound = maximise_utility(problem).bound
    except (Infeasible, Stopped):
        # Under a mean wait a search that finds nothing proves nothing.
        bound = None
    if bound is None:
        bound = utility_bound(problem)
    return replace(found, bound=max(bound, found.value))
