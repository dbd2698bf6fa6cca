"""The mixed-integer programs against exhaustive search and against the dynamic program."""

from typing import Any

import numpy as np
import pulp
import pytest
from msgspec.structs import replace

from profiler.schema import Fleet, InputError
from solver.allocation import utility
from solver.errors import Infeasible, Stopped
from solver.exact import maximise_utility
from solver.milp.arcs import arcs
from solver.milp.model import disaggregated
from solver.milp.run import Answer, Backend
from solver.milp.solve import solve_milp, verified, violations
from solver.outcome import Outcome
from solver.problem import Problem
from tests.solver.exhaustive import best_own, best_shared
from tests.solver.instances import random_fleet
from tests.solver.questions import random_case, with_drop


def milp(problem: Problem, **how: Any) -> Outcome | None:
    try:
        found = solve_milp(problem, **how)
    except Infeasible:
        return None
    assert violations(problem, found.allocation) == []
    return found


def assert_optimal(found: Outcome | None, best: float | None) -> None:
    assert (found is None) == (best is None)
    if found is not None and best is not None:
        assert found.value == pytest.approx(best, rel=1e-9)
        assert found.bound == pytest.approx(best, rel=1e-7)


def general(seed: int) -> tuple[Fleet, dict[str, Any]]:
    fleet, options = random_case(seed, devices=3, slope_noise=0.3 * (seed % 2))
    return (with_drop(fleet, 0.5) if seed % 3 == 0 else fleet), options


@pytest.mark.parametrize("backend", ["highs", "cbc"])
@pytest.mark.parametrize("seed", range(5))
def test_shared_ranks_and_all_budgets(seed: int, backend: Backend) -> None:
    fleet, options = general(seed)
    problem = Problem.of(fleet, **options)
    assert_optimal(milp(problem, backend=backend), best_shared(fleet, problem.question).value)


@pytest.mark.parametrize("seed", range(10, 16))
def test_own_ranks(seed: int) -> None:
    fleet, options = general(seed)
    options.pop("rank_budget", None)
    problem = Problem.of(fleet, structure="own", **options)
    assert_optimal(milp(problem), best_own(fleet, problem.question).value)


@pytest.mark.parametrize("backend", ["highs", "cbc"])
@pytest.mark.parametrize("seed", range(20, 26))
def test_a_mean_wait(seed: int, backend: Backend) -> None:
    fleet, options = general(seed)
    options["mean_wait_s"] = float(np.random.default_rng(seed).uniform(0, 1))
    problem = Problem.of(fleet, **options)
    assert_optimal(milp(problem, backend=backend), best_shared(fleet, problem.question).value)


@pytest.mark.parametrize("seed", range(30, 35))
def test_the_least_time(seed: int) -> None:
    fleet, options = general(seed)
    problem = Problem.of(fleet, objective="time", min_utility=0.4, **options)
    assert_optimal(milp(problem), best_shared(fleet, problem.question).value)


@pytest.mark.parametrize("backend", ["highs", "cbc"])
@pytest.mark.parametrize("sizes", [(), (32, 64, 64, 96, 64)])
def test_arcs_agree_with_the_dynamic_program(sizes: tuple[int, ...], backend: Backend) -> None:
    fleet = random_fleet(1, layers=5, classes=3, devices=20, max_rank=6, sizes=sizes)
    for budget in (None, 13):
        problem = Problem.of(
            fleet, ranks=range(1, 7), min_depth=0, round_time_s=16.0, rank_budget=budget
        )
        exact = maximise_utility(problem)
        found = solve_milp(problem, form="arcs", backend=backend)
        assert found.value == pytest.approx(exact.value, rel=1e-9)
        assert found.bound == pytest.approx(exact.value, rel=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_the_disaggregated_form_agrees_with_the_dynamic_program(seed: int) -> None:
    fleet = random_fleet(seed, layers=5, classes=3, devices=10, max_rank=5)
    problem = Problem.of(fleet, ranks=range(1, 6), min_depth=0, round_time_s=16.0)
    exact = maximise_utility(problem)
    assert solve_milp(problem).value == pytest.approx(exact.value, rel=1e-9)


def test_the_arc_form_is_a_linear_program_that_does_not_grow_with_the_fleet() -> None:
    sizes = []
    for devices in (10, 40):
        fleet = random_fleet(2, layers=4, classes=3, devices=devices, max_rank=4)
        # Memory enough that every device carries everything.
        fleet = replace(fleet, devices=[replace(d, memory_bytes=0) for d in fleet.devices])
        program = arcs(Problem.of(fleet, ranks=range(1, 5))).program
        assert not program.isMIP()
        sizes.append(len(program.variables()))
    assert sizes[0] == sizes[1]


def test_constraints_are_named_after_what_they_hold() -> None:
    fleet = random_fleet(0, layers=2, devices=2, max_rank=2)
    names = ["tx2-03", "tx2_03"]
    fleet = replace(
        fleet, devices=[replace(d, name=n) for d, n in zip(fleet.devices, names, strict=True)]
    )
    problem = Problem.of(fleet, ranks=[1, 2], round_time_s=20.0, rank_budget=3, mean_wait_s=9.0)
    program = disaggregated(problem).program
    for name in (
        "round_time[tx2-03]",
        "memory[tx2-03]",
        "memory[tx2-03].2",
    ):
        plain = name.translate(pulp.LpVariable.trans)
        assert program.get_constraint_by_name(plain) is not None, name
    for name in ("rank_budget", "mean_wait"):
        assert program.get_constraint_by_name(name) is not None
    assert solve_milp(problem).value == pytest.approx(maximise_utility(problem).value)


def test_a_solver_out_of_time_is_killed_and_says_so() -> None:
    fleet = random_fleet(0, layers=6, devices=10, max_rank=8)
    with pytest.raises(Stopped, match="time-limit") as stopped:
        solve_milp(Problem.of(fleet, ranks=range(1, 9)), time_limit_s=0.02)
    assert stopped.value.exit_code == 4


def test_no_answer_is_believed_unverified() -> None:
    fleet = random_fleet(2, layers=3, devices=3, max_rank=3)
    problem = Problem.of(fleet, ranks=[1, 2, 3], round_time_s=8.0)
    model = disaggregated(problem)
    nothing = Answer(status="optimal", values={}, bound=1.0)
    everything = {v.name: 1.0 for v in model.program.variables()}
    for answer in (nothing, Answer(status="optimal", values=everything, bound=99.0)):
        with pytest.raises(Stopped, match="breaks"):
            verified(problem, model, answer, "a liar")
    for claim in (Answer(status="infeasible"), Answer(status="unknown"), None):
        with pytest.raises(Stopped):
            verified(problem, model, claim, "a liar")


def test_an_answer_below_its_value_does_not_lower_the_bound() -> None:
    fleet = random_fleet(2, layers=2, devices=2, max_rank=2)
    problem = Problem.of(fleet, ranks=[1, 2])
    model = disaggregated(problem)
    depth, (rank,) = 1, (1,)
    values = {f"x_{i},1_": 1.0 for i in range(2)} | {"y_1,1_": 1.0}
    found = verified(problem, model, Answer(status="feasible", values=values, bound=0.0), "m")
    assert (found.allocation.depth == depth).all()
    assert found.allocation.rows.tolist() == [[rank, 0]]
    assert found.value == found.bound == utility(problem, found.allocation)


def test_infeasible_is_explained_without_a_solver() -> None:
    fleet = random_fleet(0, layers=2, devices=2, max_rank=2)
    with pytest.raises(Infeasible, match="least feasible round time"):
        solve_milp(Problem.of(fleet, ranks=[1, 2], round_time_s=0.1))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"backend": "cplex"}, "expected one of highs, cbc"),
        ({"form": "dense"}, "expected one of"),
        ({"time_limit_s": float("nan")}, "time limit"),
        ({"time_limit_s": 0.0}, "time limit"),
    ],
)
def test_bad_options_are_refused(how: dict[str, Any], message: str) -> None:
    problem = Problem.of(random_fleet(0, layers=1, devices=1, max_rank=1), ranks=[1])
    with pytest.raises(InputError, match=message):
        solve_milp(problem, **how)


@pytest.mark.parametrize(
    ("options", "form"),
    [
        ({"objective": "efficiency"}, "disaggregated"),
        ({"objective": "time"}, "disaggregated"),
        ({"structure": "capped"}, "arcs"),
        ({"structure": "own", "rank_budget": 1}, "disaggregated"),
        ({"structure": "own"}, "arcs"),
        ({"mean_wait_s": 1.0}, "arcs"),
    ],
)
def test_questions_without_such_a_program_are_refused(
    options: dict[str, Any], form: Any
) -> None:
    problem = Problem.of(random_fleet(0, layers=1, devices=1, max_rank=1), ranks=[1], **options)
    with pytest.raises(InputError, match=r"expected|use|needs"):
        solve_milp(problem, form=form)


def test_the_arc_form_refuses_slopes_out_of_proportion() -> None:
    problem = Problem.of(random_fleet(0, slope_noise=0.3), ranks=[1, 2])
    with pytest.raises(InputError, match="proportion"):
        solve_milp(problem, form="arcs")
