"""The cheapest repair: it mends the problem, and less of it would not."""

from typing import Any

import pytest

from profiler.schema import Fleet
from solver.check import check
from solver.errors import Infeasible
from solver.explain.repair import Repair, repairs
from solver.planner import solve
from solver.problem import Problem
from tests.solver.exhaustive import best_shared
from tests.solver.linked import linked_case
from tests.solver.questions import random_case


def broken(seed: int) -> tuple[Fleet, Problem]:
    """A question with one to three budgets too tight."""
    fleet, options = random_case(seed, devices=3)
    options["min_depth"] = min(fleet.model.layers, 1 + seed % 2)
    options["round_time_s"] = 1.0 if seed % 3 == 0 else 30.0
    options |= {"rank_budget": 1} if seed % 4 == 1 else {}
    options |= {"upload_bytes": 50.0} if seed % 5 == 2 else {}
    options |= {"mean_wait_s": 0.05} if seed % 2 else {}
    return fleet, Problem.of(fleet, **options)


def mends(fleet: Fleet, repair: Repair) -> bool:
    if repair.problem.question.leave_out == "unable":
        return check(solve(repair.problem), fleet).ok
    return best_shared(fleet, repair.problem.question).value is not None


def refused(problem: Problem) -> Infeasible | None:
    try:
        solve(problem)
    except Infeasible as error:
        return error
    return None


def test_every_repair_mends_and_the_cheapest_is_named() -> None:
    named: dict[str, int] = {}
    for seed in range(60):
        fleet, problem = broken(seed)
        error = refused(problem)
        if error is None:
            assert best_shared(fleet, problem.question).value is not None
            continue
        found = repairs(problem)
        assert [r.share for r in found] == sorted(r.share for r in found)
        assert all(mends(fleet, repair) for repair in found), seed
        if found:
            assert str(error).endswith(f"Cheapest repair: {found[0].text}.")
            assert error.repair.endswith(f"{found[0].text}.")
        for repair in found:
            kind = " ".join(repair.text.split()[:2])
            named[kind] = named.get(kind, 0) + 1
    assert {"a round", "a rank", "a mean", "leave out"} <= named.keys(), named


@pytest.mark.parametrize("field", ["round_time_s", "upload_bytes", "rank_budget"])
def test_a_budget_is_raised_no_further_than_needed(field: str) -> None:
    tried = 0
    for seed in range(60):
        fleet, problem = broken(seed)
        asked: Any = getattr(problem.question.budgets, field)
        for repair in repairs(problem):
            raised = getattr(repair.problem.question.budgets, field)
            if raised == asked:
                continue
            less = raised - 1 if field == "rank_budget" else raised * 0.999
            tighter = problem.under(**{field: less})
            assert best_shared(fleet, tighter.question).value is None
            tried += 1
    assert tried > 3


def test_what_is_left_after_leaving_out_is_told() -> None:
    told = 0
    for seed in range(0, 90, 3):
        fleet, options = random_case(seed, devices=4)
        problem = Problem.of(fleet, **{**options, "round_time_s": 2.5, "min_depth": 1})
        for repair in repairs(problem):
            if repair.problem.question.leave_out == "unable":
                plan = solve(repair.problem)
                assert check(plan, fleet).ok
                out = sum(d.count for d in plan.devices if d.configuration is None)
                assert (
                    f"leave out {out} of {sum(d.count for d in fleet.devices)}" in repair.text
                )
                told += 1
    assert told > 2


def test_a_link_too_narrow_for_all_is_mended_by_no_wait_and_named() -> None:
    """What a wait would take was asked of a question without a plan, which ended all."""
    fleet, options = linked_case(25)
    problem = Problem.of(fleet, **{**options, "round_time_s": 3.5, "mean_wait_s": 1.0})
    assert not any("mean wait" in repair.text for repair in repairs(problem))
    with pytest.raises(Infeasible, match="link ap-1 is busy for"):
        solve(problem)
