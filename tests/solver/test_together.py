"""Caches, codecs, shapes, depths, waits and shared links in one question: nothing unsound."""

import pytest

from profiler.schema import InputError
from solver.check import check
from solver.compare import compare_policies
from solver.deadline import within
from solver.errors import Infeasible, Stopped
from solver.least import least_round_time_s
from solver.methods import plan_with
from solver.planner import solve
from solver.problem import Problem
from tests.solver.linked import with_links
from tests.solver.mixed import mixed_case, values
from tests.solver.questions import random_case

SLACK = 1e-10
# Seeds of which one found each defect of the merge of these parts, before downloads had codecs.
FOUND = (381, 385, 1280, 1916)


@pytest.mark.parametrize("limit_s", [None, 0.0])
def test_no_answer_is_unsound(limit_s: float | None) -> None:
    found, optimal = 0, 0
    for seed in (*range(40), *FOUND):
        fleet, options = mixed_case(seed)
        if seed in FOUND:
            options["download_codec"] = "none"
        try:
            problem = Problem.of(fleet, **options)
            with within(limit_s):
                plan = solve(problem, using=plan_with)
        except InputError:
            continue
        except (Infeasible, Stopped) as error:
            if isinstance(error, Infeasible) and error.proven:
                assert not list(values(fleet, problem.question)), seed
            continue
        verdict = check(plan, fleet)
        assert verdict.ok, (seed, verdict.failed)
        best = max(values(fleet, problem.question))
        certificate = plan.certificate
        assert certificate.bound is not None
        sign = -1 if problem.question.objective == "time" else 1
        slack = 1e-8 * max(1.0, abs(best))
        assert sign * certificate.value <= best + slack, seed
        assert sign * certificate.bound >= best - slack, seed
        found += 1
        optimal += certificate.status == "optimal"
    assert found >= 15
    assert optimal >= (10 if limit_s is None else 3)


def test_what_does_not_go_together_is_refused_in_a_line() -> None:
    fleet, _ = random_case(1, devices=4)
    fleet = with_links(fleet, 1, tight=2.0)
    with pytest.raises(InputError, match="a rank budget needs shared ranks"):
        solve(Problem.of(fleet, structure="own", rank_budget=3, round_time_s=60.0))
    problem = Problem.of(fleet, ranks=[1, 2], rank_shape="progression")
    tight = problem.under(round_time_s=1.001 * (least_round_time_s(problem) or 0.0))
    with pytest.raises(InputError, match="'progression' and shared links"):
        solve(tight)


def test_a_heuristic_that_overloads_a_link_is_refused_by_name() -> None:
    fleet, options = mixed_case(6045)
    fleet = with_links(fleet, 6045)
    options |= {"structure": "shared", "objective": "utility", "rank_shape": "free"}
    options |= {"mean_wait_s": None, "min_utility": None}
    problem = Problem.of(fleet, **options)
    with pytest.raises(Infeasible, match="'progression' does not look at shared links"):
        plan_with(problem, method="progression")
    assert check(solve(problem, using=plan_with), fleet).ok


def test_a_table_of_policies_shows_the_rows_that_there_are() -> None:
    fleet, _ = random_case(3, devices=4)
    rows = compare_policies(fleet, ["exact", "legend"], {"ranks": [1, 2], "rank_budget": 9})
    reasons = {row.policy: row.reason for row in rows}
    assert "a rank budget needs shared ranks" in reasons["exact, own ranks"]
    assert [row.plan is not None for row in rows] == [True, True, False, True]
