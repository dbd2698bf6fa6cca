"""A program whose time ends without a plan: a fast method's plan instead, honestly named."""

from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from profiler.schema import write
from solver.check import check
from solver.deadline import current, within
from solver.errors import Infeasible, Stopped
from solver.exact import maximise_utility
from solver.methods import Method, milp, plan_with
from solver.milp.arcs import arcs
from solver.milp.model import disaggregated, elastic
from solver.milp.run import run as run_program
from solver.milp.solve import solve_milp
from solver.outcome import Outcome
from solver.plan import Plan
from solver.planner import solve
from solver.problem import Problem
from tests.solver.instances import random_fleet
from tests.solver.questions import random_case

PROGRAMS: tuple[Method, ...] = ("milp", "milp-disaggregated")


@pytest.mark.parametrize("method", PROGRAMS)
@pytest.mark.parametrize("objective", ["utility", "legend", "time"])
def test_the_plan_is_a_fast_methods_and_says_so(method: Method, objective: Any) -> None:
    fleet, options = random_case(5)
    options |= {"min_utility": 0.05} if objective == "time" else {}
    problem = Problem.of(fleet, objective=objective, **options)
    plan = solve(problem, using=partial(plan_with, method=method, time_limit_s=0.0))
    assert check(plan, fleet).ok
    said = plan.certificate.method
    assert said.startswith("mixed-integer program, ")
    assert "stopped without a plan; plan by " in said
    assert said.endswith("cut short by the time limit")
    whole = solve(problem)
    better = (whole.certificate.value - plan.certificate.value) * (-1) ** (objective == "time")
    assert better >= -1e-9


@pytest.mark.parametrize("objective", ["utility", "time"])
@pytest.mark.parametrize("factor", [0.5, 1.001, 1e3])
def test_the_bound_is_the_tighter_of_both(
    monkeypatch: pytest.MonkeyPatch, objective: Any, factor: float
) -> None:
    fleet, options = random_case(5, slope_noise=0.3)
    shortest = objective == "time"
    options |= {"min_utility": 0.05} if shortest else {}
    problem = Problem.of(fleet, objective=objective, **options)
    quick = milp.quick_plan(problem)
    assert quick.bound is not None
    proven = quick.bound / factor if shortest else quick.bound * factor

    def stopped(*_: object, **__: object) -> Outcome:
        raise Stopped("no time", bound=proven)

    monkeypatch.setattr("solver.milp.solve.solve_milp", stopped)
    found = plan_with(problem, method="milp-disaggregated")
    assert found.value == quick.value
    if factor > 1:
        assert found.bound == quick.bound
        assert "bound by the program" not in found.method
    else:
        # Even a solver that claims too much cannot contradict a plan.
        expected = (min if shortest else max)(proven, quick.value)
        assert found.bound == expected
        assert found.method.endswith("bound by the program")


def split(sense: int, category: str) -> Any:
    """A market split: hard to find any solution of, quick to bound."""
    import pulp

    program = pulp.LpProblem("split", sense)
    taken = [program.add_variable(f"x{i}", 0, 1, category) for i in range(24)]
    program += pulp.lpSum(taken)
    for row in np.random.default_rng(0).integers(0, 100, (3, 24)):
        whole = pulp.lpSum(int(share) * x for share, x in zip(row, taken, strict=True))
        program += whole == int(row.sum() // 2)
    return program


@pytest.mark.parametrize("sense", [1, -1])
def test_a_bound_proven_before_there_is_a_solution_is_kept(sense: int) -> None:
    answer = run_program(split(sense, "Integer"), "highs", 60.0, nodes=1)
    relaxed = run_program(split(sense, "Continuous"), "highs", 60.0)
    assert answer is not None
    assert relaxed is not None
    assert (answer.status, answer.values, relaxed.status) == ("unknown", {}, "optimal")
    assert answer.bound is not None
    assert relaxed.bound is not None
    assert 0 < answer.bound < 24
    assert (answer.bound - relaxed.bound) * sense >= -1e-6


def test_a_plan_found_within_the_most_nodes_is_kept() -> None:
    """PuLP has no word for that end of HiGHS, and once it took the plan along."""
    fleet = random_fleet(0, layers=6, devices=20, max_rank=16, slope_noise=0.3)
    problem = Problem.of(fleet, ranks=range(1, 17), round_time_s=20.0, min_depth=0)
    found = solve_milp(problem, nodes=1, time_limit_s=60.0)
    assert found.bound is not None
    assert found.value <= maximise_utility(problem).value * (1 + 1e-9)
    assert found.bound >= maximise_utility(problem).value * (1 - 1e-9)


def test_no_plan_anywhere_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet, options = random_case(5)
    problem = Problem.of(fleet, **options)

    def stopped(*_: object, **__: object) -> Outcome:
        raise Stopped("no time")

    def fails(error: Exception) -> None:
        def quick(_: Problem) -> Outcome:
            raise error

        monkeypatch.setattr(milp, "quick_plan", quick)

    monkeypatch.setattr("solver.milp.solve.solve_milp", stopped)
    fails(Infeasible(reason="none at all"))
    with pytest.raises(Infeasible, match="none at all"):
        plan_with(problem, method="milp")
    for error in (Infeasible(reason="none found", proven=False), Stopped("neither")):
        fails(error)
        with pytest.raises(Stopped, match=r"none either: (none found|neither)\."):
            plan_with(problem, method="milp")
    # A plan that breaks a limit is none.
    loose = maximise_utility(problem.under(round_time_s=None, upload_bytes=None))
    monkeypatch.setattr(milp, "quick_plan", lambda _: loose)
    with pytest.raises(Stopped, match="no time"):
        plan_with(problem.under(round_time_s=1e-6), method="milp")


def test_a_gap_left_by_the_time_limit_is_cut_short_and_exit_4(
    monkeypatch: pytest.MonkeyPatch, run: Any, fleet_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "plan.json"

    def half(problem: Problem, **_: object) -> Outcome:
        found = maximise_utility(problem)
        return Outcome(
            allocation=found.allocation, value=found.value, bound=2 * found.value, method="m"
        )

    monkeypatch.setattr("solver.milp.solve.solve_milp", half)
    asked = ("solve", fleet_path, "--ranks", "1-4", "--method", "milp", "-o", path)
    assert run(*asked)[0] == 0
    assert run(*asked, "--time-limit", 60)[0] == 4
    plan = msgspec.json.decode(path.read_bytes(), type=Plan)
    assert plan.certificate.method == "m; cut short by the time limit"


def test_objectives_other_than_utility_are_not_bounded_by_utility() -> None:
    """A method without a bound leaves them without one."""
    fleet, options = random_case(5)
    for objective, more in (("time", {"min_utility": 0.05}), ("legend", {})):
        problem = Problem.of(fleet, objective=objective, **options, **more)  # type: ignore[arg-type]

        def unbounded(asked: Problem) -> Outcome:
            found = plan_with(asked)
            return Outcome(
                allocation=found.allocation, value=found.value, bound=None, method="m"
            )

        plan = solve(problem, using=unbounded)
        assert (plan.certificate.bound, plan.certificate.status) == (None, "feasible")
        assert check(plan, fleet).ok


@pytest.mark.parametrize("method", ["dp", "branch", "lcd", "anneal", "decomposition"])
def test_a_backend_is_refused_where_no_program_is_run(
    run: Any, fleet_path: Path, method: str
) -> None:
    asked = ("solve", fleet_path, "--ranks", "1-4", "--backend", "highs")
    code, out, err = run(*asked, "--method", method)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"method '{method}' runs no mixed-integer program" in err


def test_a_backend_is_refused_by_other_policies(run: Any, fleet_path: Path) -> None:
    for backend in ("highs", "cbc"):
        code, out, err = run(
            "solve", fleet_path, "--ranks", "1-4", "--policy", "legend", "--backend", backend
        )
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert f"policy 'legend' has no backend '{backend}'" in err


@pytest.mark.parametrize("backend", ["highs", "cbc"])
def test_auto_notes_that_a_backend_had_no_use_and_programs_use_it(
    run: Any, fleet_path: Path, backend: str
) -> None:
    asked = ("solve", fleet_path, "--ranks", "1-3", "--json", "--backend", backend)
    code, out, err = run(*asked)
    assert (code, err.count("\n")) == (0, 1)
    assert err.startswith(f"note: --backend {backend} was not used")
    assert msgspec.json.decode(out, type=Plan).certificate.status == "optimal"
    for method in PROGRAMS:
        code, out, err = run(*asked, "--method", method)
        assert (code, err) == (0, "")
        assert backend in msgspec.json.decode(out, type=Plan).certificate.method


@pytest.mark.parametrize("answers", [True, False])
def test_auto_says_nothing_where_it_ran_the_backend(
    monkeypatch: pytest.MonkeyPatch, run: Any, tmp_path: Path, answers: bool
) -> None:
    """Also where the program came back without a plan."""

    def stopped(*_: object, **__: object) -> Outcome:
        raise Stopped("no time")

    path = tmp_path / "fleet.json"
    write(path, random_fleet(2, layers=3, devices=4, max_rank=4, slope_noise=0.8))
    if not answers:
        monkeypatch.setattr("solver.milp.solve.solve_milp", stopped)
    asked = ("--ranks", "1-4", "--round-time", 8, "--min-depth", 0)
    limits = ("--mean-wait", 1, "--rank-budget", 6)
    code, out, err = run("solve", path, *asked, *limits, "--backend", "cbc", "--json")
    assert (code, err) == (0, "")
    method = msgspec.json.decode(out, type=Plan).certificate.method
    assert "auto: " in method
    assert "mixed-integer program, disaggregated, cbc" in method
    assert ("stopped without a plan" in method) != answers


def test_the_plan_to_fall_back_on_is_made_in_a_share_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And leaves no trace where the program needs none."""
    fleet, options = random_case(5)
    problem = Problem.of(fleet, **options)
    seen: list[float] = []

    def quick(asked: Problem) -> Outcome:
        seen.append(current().left_s())
        current().cut()
        return maximise_utility(asked)

    monkeypatch.setattr(milp, "quick_plan", quick)
    found = plan_with(problem, method="milp-disaggregated", time_limit_s=100.0)
    assert found.bound == pytest.approx(found.value, rel=1e-7)
    assert found.method == "mixed-integer program, disaggregated, highs"
    assert seen[0] <= 25
    # Without a limit it is made only where it is needed.
    plan_with(problem, method="milp-disaggregated")
    assert len(seen) == 1


def test_no_solver_starts_when_writing_the_program_took_all_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet, options = random_case(5)
    problem = Problem.of(fleet, **options)
    monkeypatch.setattr("solver.milp.solve.run", None)
    with within(0.0), pytest.raises(Stopped, match="without a plan"):
        solve_milp(problem)


@pytest.mark.parametrize("write_out", [arcs, disaggregated, elastic])
def test_writing_a_program_ends_with_the_time(write_out: Any) -> None:
    fleet, options = random_case(5)
    problem = Problem.of(fleet, **options)
    with within(0.0), pytest.raises(Stopped, match="writing it took all the time"):
        write_out(problem)
    assert write_out(problem).program.numVariables() > 0
