"""From a problem to a plan: look the policy up, plan, bound, certify."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from msgspec import UNSET, UnsetType

from profiler.schema import InputError
from solver.assemble import assemble
from solver.costs.stacking import stacked
from solver.errors import Infeasible
from solver.exact import utility_bound
from solver.fill_budget import plan_filled, posed
from solver.keep import check_keep, stay
from solver.leave_out import plan_able
from solver.links.said import overloaded
from solver.outcome import Outcome
from solver.plan import Kept, Plan
from solver.policies import policy
from solver.problem import Problem
from solver.wording import spoken

# Policies that have a plan wherever the least configuration is one.
_LEAST = ("exact", "legend")


@spoken
def solve(
    problem: Problem,
    *,
    using: Callable[[Problem], Outcome] | None = None,
    seed: int = 0,
    options: dict[str, str] | None = None,
    inputs: tuple[Path, ...] = (),
    keep: Plan | None = None,
    keep_within: float | None = None,
) -> Plan:
    """Answer a problem with a plan.

    Parameters
    ----------
    problem : Problem
        Its question names the policy.
    using : callable, optional
        Answers in the policy's place, such as `solver.methods.plan_with`.
    seed : int
        Seed of every random choice.
    options, inputs
        For the plan's provenance.
    keep : Plan, optional
        An earlier plan to stay with where that gives little away.
    keep_within : float, optional
        How much, as a share of the bound, 0 to 1: its ranks are kept, and depths as far as
        each device still can, if they lose no more. The plan's `kept` says what was done.

    Returns
    -------
    Plan
        With predictions and a certificate.

    Raises
    ------
    Infeasible
        If no plan keeps every budget; says which device needs what.
    Stopped
        If the search ended, as at a time limit, with neither a plan nor a proof that there is
        none.
    InputError
        If the question is not one that the policy answers.

    Examples
    --------
    >>> from pathlib import Path
    >>> from profiler.schema import read_fleet
    >>> fleet = read_fleet(Path("fleet.json"))  # doctest: +SKIP
    >>> plan = solve(Problem.of(fleet, round_time_s=30))  # doctest: +SKIP
    """
    if not isinstance(problem, Problem):
        raise InputError(f"problem is {problem!r:.60}; expected a Problem, as Problem.of gives")
    _check(problem)
    check_keep(problem, keep, keep_within)
    plan = using or policy(problem.question.policy, seed).plan
    try:
        outcome = plan_able(problem, partial(plan_filled, plan=plan))
    except Infeasible as error:
        raise _with_repair(problem, error) from None
    answered = posed(problem, outcome)
    if outcome.bound is None and answered.question.objective == "utility":
        # A stack holds the device's own adapter: to receive only that bounds it.
        outcome = replace(outcome, bound=max(utility_bound(answered), outcome.value))
    kept: Kept | UnsetType = UNSET
    if keep is not None and keep_within is not None:
        outcome, kept = stay(answered, outcome, keep, keep_within)
    if answered.question.download == "stacked":
        answered = stacked(answered, outcome.allocation)
    broken = overloaded(answered, outcome.allocation, least=False)
    if broken is not None:
        raise broken
    certificate = outcome.certificate(answered.question.objective)
    return assemble(
        answered,
        outcome.allocation,
        certificate,
        seed=seed,
        options=options,
        inputs=inputs,
        kept=kept,
    )


def _with_repair(problem: Problem, error: Infeasible) -> Infeasible:
    """Name the cheapest repair too, for policies that need no more than the exact one."""
    from solver.explain.repair import explained

    return explained(problem, error) if problem.question.policy in _LEAST else error


def _check(problem: Problem) -> None:
    question = problem.question
    if question.min_utility is not None and question.objective in ("utility", "legend"):
        raise InputError(
            f"a least utility means nothing to objective '{question.objective}'; drop "
            "--min-utility, or use --objective time or efficiency"
        )
    if question.policy != "exact" and question.leave_out != "nobody":
        raise InputError(
            f"policy '{question.policy}' decides itself whom it leaves out; --leave-out is for "
            "--policy exact"
        )
    if question.policy != "exact" and question.objective != "utility":
        raise InputError(
            f"policy '{question.policy}' plans for utility and knows no objective "
            f"'{question.objective}'; use --policy exact or --objective utility"
        )
