"""From a problem to a plan: look the policy up, plan, bound, certify."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from profiler.schema import InputError
from solver.assemble import assemble
from solver.exact import utility_bound
from solver.outcome import Outcome
from solver.plan import Plan
from solver.policies import policy
from solver.problem import Problem


def solve(
    problem: Problem,
    *,
    using: Callable[[Problem], Outcome] | None = None,
    seed: int = 0,
    options: dict[str, str] | None = None,
    inputs: tuple[Path, ...] = (),
) -> Plan:
    """Plan.

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

    Returns
    -------
    Plan
        With predictions and a certificate.

    Raises
    ------
    Infeasible
        If no plan keeps every budget; says which device needs what.
    InputError
        If the question is not one that the policy answers.

    Examples
    --------
    >>> from pathlib import Path
    >>> from profiler.schema import read_fleet
    >>> fleet = read_fleet(Path("fleet.json"))  # doctest: +SKIP
    >>> plan = solve(Problem.of(fleet, round_time_s=30))  # doctest: +SKIP
    """
    _check(problem)
    outcome = (using or policy(problem.question.policy).plan)(problem)
    answered = problem
    if outcome.question is not None:
        answered = replace(problem, question=outcome.question)
    if outcome.bound is None:
        outcome = replace(outcome, bound=max(utility_bound(answered), outcome.value))
    certificate = outcome.certificate(answered.question.objective)
    return assemble(
        answered, outcome.allocation, certificate, seed=seed, options=options, inputs=inputs
    )


def _check(problem: Problem) -> None:
    question = problem.question
    if question.min_utility is not None and question.objective in ("utility", "legend"):
        raise InputError(
            f"a least utility means nothing to objective '{question.objective}'; drop "
            "--min-utility, or use --objective time or efficiency"
        )
    if question.policy != "exact" and question.objective in ("time", "efficiency"):
        raise InputError(
            f"policy '{question.policy}' plans for utility and knows no objective "
            f"'{question.objective}'; use --policy exact or --objective utility"
        )
