"""Shared ranks as candidates of a heuristic: which may be, and the plan that they make."""

from profiler.schema import InputError
from solver.allocation import Allocation, shared, utility
from solver.costs.devices import Ints
from solver.errors import Infeasible
from solver.explain.infeasible import infeasible, without_plan
from solver.least import least_allocation
from solver.outcome import Outcome
from solver.problem import Problem
from solver.shapes import is_allowed
from solver.wait.limit import keeps_wait, within_wait


def require_shared(problem: Problem, method: str) -> None:
    """Refuse questions that heuristics on shared ranks do not answer, or that have no plan."""
    question = problem.question
    if question.structure != "shared" or question.objective != "utility":
        raise InputError(
            f"method '{method}' takes shared ranks and the largest utility; use --method auto"
        )
    reason = without_plan(problem)
    if reason is not None:
        raise reason


def require_free(problem: Problem, method: str) -> None:
    """Refuse ranks that must form a progression, where single ranks are changed."""
    if problem.question.rank_shape == "progression":
        raise InputError(
            f"method '{method}' changes one rank at a time; for a progression use --method dp "
            "or progression"
        )


def deepest_allowed(problem: Problem) -> int:
    """Most layers that any device may adapt."""
    depth = problem.question.max_depth
    return problem.layers if depth is None else min(depth, problem.layers)


def may_be(problem: Problem, ranks: Ints) -> bool:
    """Whether shared ranks, from the output, keep the rank budget, shape and depth."""
    too_deep = bool(ranks[deepest_allowed(problem) :].any())
    return not too_deep and is_allowed(problem.question, ranks)


def finished(problem: Problem, found: Allocation | None, method: str) -> Outcome:
    """A heuristic's allocation within the mean wait, or else the least configuration's.

    The bound is left open.
    """
    least = least_allocation(problem)
    kept = [_kept(problem, each) for each in (found, least) if each is not None]
    best = max(
        (each for each in kept if each is not None),
        key=lambda each: utility(problem, each),
        default=None,
    )
    if best is None:
        raise no_plan(problem, least)
    return Outcome(allocation=best, value=utility(problem, best), bound=None, method=method)


def plan_of(problem: Problem, ranks: Ints) -> Allocation | None:
    """Every device as deep as it can at shared ranks; None if one falls short."""
    found = shared(problem, ranks)
    return found if (found.depth >= problem.question.min_depth).all() else None


def no_plan(problem: Problem, least: Allocation) -> Infeasible:
    """Explain that no candidate keeps the mean wait, which proves nothing of the others."""
    return infeasible(problem, waiting=least, proven=False)


def _kept(problem: Problem, found: Allocation) -> Allocation | None:
    """The allocation itself where it keeps the mean wait, else less deep ones that do."""
    return found if keeps_wait(problem, found) else within_wait(problem, found)
