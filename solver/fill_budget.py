"""A budget on the mean wait where waits are filled: it holds of what is left of them.

Whoever asks for both means what devices do wait, so the budget counts after `solver.fill`.
Steps do not change utility, round time or mean depth: the plan that is best without a budget on
the wait is best with it too if its waits, once filled, keep it, and what was proven of it
holds. That is nearly always so. Where it is not, plans are made with a budget on the wait
before it is filled, first the one that is asked for, as filling never lengthens a wait, then
longer ones, by halving, as long as the filled wait keeps it. What bounds the plans that were
not tried is the plan without a budget.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from msgspec.structs import replace as replace_fields

from solver.allocation import mean_wait_s
from solver.costs.resource import TOLERANCE
from solver.costs.stacking import stacked
from solver.deadline import expired
from solver.errors import Infeasible, Stopped
from solver.fill import filled
from solver.outcome import OPTIMAL_GAP, Outcome, relative_gap
from solver.plan import Objective
from solver.problem import Problem
from solver.show.figures import rounded

__all__ = ["plan_filled", "posed"]

# Budgets on the wait before it is filled that are tried, from what is asked for up.
TRIES = 6


def posed(problem: Problem, outcome: Outcome) -> Problem:
    """Return the problem that an outcome answers, before downloads are stacked.

    Parameters
    ----------
    problem : Problem
        As it was asked.
    outcome : Outcome
    """
    question = outcome.question
    if question is None:
        return problem
    if question.structure != "shared":
        # The shape is one of shared ranks, and the policy gives devices ranks of their own.
        question = replace_fields(question, rank_shape="free")
    return problem.asking(question)


def plan_filled(problem: Problem, plan: Callable[[Problem], Outcome]) -> Outcome:
    """Plan so that the mean wait is within its budget once waits are filled.

    Parameters
    ----------
    problem : Problem
        Any; without a budget on the wait, or if waits are not filled, it is just planned.
    plan : callable
        A method; it is asked to keep budgets on the wait before that is filled.

    Raises
    ------
    Infeasible
        If there is no plan whatever the wait.
    Stopped
        If none of the plans that were tried keeps the wait.
    """
    question = problem.question
    limit_s = question.budgets.mean_wait_s
    if question.fill_wait == 1 or limit_s is None:
        return plan(problem)
    free = _Tried.of(problem, plan, None)
    if free.after_s <= limit_s * (1 + TOLERANCE):
        return free.outcome
    best, nearest_s = None, free.after_s
    at_s, low_s, high_s = limit_s, limit_s, free.before_s
    for _ in range(TRIES):
        try:
            tried = _Tried.of(problem, plan, at_s)
        except (Infeasible, Stopped):
            low_s = at_s
        else:
            if tried.ignores:
                return tried.outcome
            nearest_s = min(nearest_s, tried.after_s)
            if tried.after_s <= limit_s * (1 + TOLERANCE):
                best, low_s = _better(best, tried.outcome, question.objective), at_s
            else:
                high_s = at_s
        at_s = (low_s + high_s) / 2
        if expired() or (best is not None and _near(best, free.outcome, question.objective)):
            break
    if best is None:
        nearest = rounded(nearest_s, up=True)
        raise Stopped(
            f"found no plan that keeps the mean wait within {limit_s:.6g} s once waits are "
            f"filled; a mean wait of {nearest} s is feasible. Loosen --mean-wait, or raise "
            "--fill-wait"
        )
    return replace(best, bound=free.outcome.bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    """A plan, its mean wait before and after that is filled, and if its policy ignores it."""

    outcome: Outcome
    before_s: float
    after_s: float
    ignores: bool

    @classmethod
    def of(
        cls, problem: Problem, plan: Callable[[Problem], Outcome], at_s: float | None
    ) -> Self:
        """Plan with a budget on the wait before it is filled; None for none."""
        asked = problem.under(mean_wait_s=at_s)
        outcome = plan(asked)
        answered = posed(asked, outcome)
        if answered.question.download == "stacked":
            answered = stacked(answered, outcome.allocation)
        ignores = at_s is not None and answered.question.budgets.mean_wait_s is None
        if outcome.question is not None and not ignores:
            # It answers what was asked for, as far as this says so.
            budgets = replace_fields(
                outcome.question.budgets, mean_wait_s=problem.question.budgets.mean_wait_s
            )
            question = replace_fields(outcome.question, budgets=budgets)
            outcome = replace(outcome, question=question)
        return cls(
            outcome=outcome,
            before_s=mean_wait_s(answered, outcome.allocation),
            after_s=mean_wait_s(filled(answered, outcome.allocation), outcome.allocation),
            ignores=ignores,
        )


def _better(best: Outcome | None, other: Outcome, objective: Objective) -> Outcome:
    if best is None:
        return other
    sign = -1 if objective == "time" else 1
    return max(best, other, key=lambda each: sign * each.value)


def _near(best: Outcome, free: Outcome, objective: Objective) -> bool:
    """Whether a plan is as good as its method makes them."""
    if free.bound is None:
        return False
    gap = relative_gap(best.value, free.bound, objective)
    return gap <= max(best.target_gap, OPTIMAL_GAP)
