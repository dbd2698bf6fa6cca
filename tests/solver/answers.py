"""Plans that the checker passes, and what brackets them."""

import pytest

from profiler.schema import Fleet
from solver.check import check
from solver.errors import Infeasible
from solver.plan import Certificate, Plan
from solver.planner import solve
from solver.problem import Problem


def answer(fleet: Fleet, problem: Problem) -> Certificate | None:
    """Certificate of a plan that the checker passes; None if there is no plan."""
    try:
        plan = solve(problem)
    except Infeasible:
        return None
    verdict = check(plan, fleet)
    assert verdict.ok, verdict.failed
    return plan.certificate


def assert_brackets(certificate: Certificate | None, best: float | None) -> None:
    """A plan exactly if there is one, no better than the best, and a bound no worse."""
    assert (certificate is None) == (best is None)
    if certificate is None or best is None:
        return
    assert certificate.bound is not None
    assert certificate.value <= best * (1 + 1e-9)
    assert certificate.bound >= best * (1 - 1e-9)
    if certificate.status == "optimal":
        assert certificate.value == pytest.approx(best, rel=2e-9)


def verified(problem: Problem) -> Plan:
    plan = solve(problem)
    assert check(plan, problem.fleet).failed == ()
    return plan


def gap(plan: Plan) -> float:
    bound = plan.certificate.bound
    assert bound is not None
    return 1 - plan.certificate.value / bound
