"""What somebody sees who works in Python: a line, a table, an error in words."""

import pickle
from importlib.resources import files
from typing import Any

import pytest

from profiler.schema import InputError
from solver.heuristics import plan_of
from solver.instances import random_fleet
from solver.planner import solve
from solver.problem import Problem

# What a notebook lets anybody pass, whatever the types say.
ANYTHING: Any = "fleet.json"
A_FUNCTION: Any = lambda _: [[0, 0, 1]] * 4  # noqa: E731


def test_what_is_looked_at_fits_a_line_and_a_plan_is_a_table() -> None:
    fleet = random_fleet(3, layers=6, devices=20)
    problem = Problem.of(fleet, ranks=[2, 4])
    plan = solve(problem)
    heads = sum(device.count for device in fleet.devices)
    for each in (fleet, problem, plan):
        assert len(repr(each)) < 160
        assert f"{heads} devices" in repr(each)
    assert f"{plan.predicted.utility:.5f}" in repr(plan)
    page = plan._repr_html_()
    assert "what binds" in page
    assert "<script" not in page


def test_a_problem_is_a_key_and_travels_to_another_process() -> None:
    problem = Problem.of(random_fleet(3), ranks=[2, 4])
    assert {problem: 1}[problem] == 1
    assert problem != Problem.of(random_fleet(3), ranks=[2, 4])
    assert solve(pickle.loads(pickle.dumps(problem))) == solve(problem)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda _: Problem.of(ANYTHING), "fleet is 'fleet.json'; expected a Fleet"),
        (lambda p: solve(p.fleet), "expected a Problem, as Problem.of gives"),
        (lambda p: plan_of(p, A_FUNCTION), "called with the problem"),
        (lambda p: random_fleet(1, layers=0), "layers is 0; expected 1 or more"),
        (lambda p: random_fleet(-1), "seed is -1"),
    ],
)
def test_one_thing_in_place_of_another_is_named(call: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call(Problem.of(random_fleet(3), ranks=[1]))


@pytest.mark.parametrize("package", ["solver", "profiler", "finetune"])
def test_a_type_checker_reads_the_hints(package: str) -> None:
    # Without the mark all that is imported from it is Any.
    assert files(package).joinpath("py.typed").is_file()
