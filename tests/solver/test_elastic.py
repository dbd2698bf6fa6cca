"""Side constraints that no plan keeps together: the elastic program says what would."""

import re
from functools import cache
from typing import Any

import pytest

from profiler.schema import Fleet
from solver.errors import Infeasible
from solver.explain.infeasible import without_plan
from solver.milp.solve import solve_milp
from solver.problem import Problem
from tests.solver.exhaustive import best_shared
from tests.solver.questions import random_case

ELASTIC = r"a (mean wait|rank budget|least utility) of ([-+.e\d]+)"
FIELDS = {
    "mean wait": "mean_wait_s",
    "rank budget": "rank_budget",
    "least utility": "min_utility",
}


def relaxed(options: dict[str, Any], error: Infeasible) -> dict[str, Any]:
    """The options as the answer would have them."""
    changed = {FIELDS[name]: float(text) for name, text in re.findall(ELASTIC, str(error))}
    if "rank_budget" in changed:
        changed["rank_budget"] = int(changed["rank_budget"])
    return {**options, **changed}


@cache
def cases() -> list[tuple[Fleet, dict[str, Any]]]:
    """Questions whose devices keep their own limits but no plan all side constraints."""
    found = []
    for seed in range(3000, 3200):
        fleet, options = random_case(seed, devices=3)
        options |= {"min_depth": 1, "mean_wait_s": 0.02 if seed % 2 else None}
        if seed % 3 == 0:
            options |= {"objective": "time", "min_utility": 50.0}
        problem = Problem.of(fleet, **options)
        if without_plan(problem) is None and best_shared(fleet, problem.question).value is None:
            found.append((fleet, options))
        if len(found) == 8:
            break
    return found


@pytest.mark.parametrize("number", range(8))
def test_what_the_elastic_program_says_is_enough_and_needed(number: int) -> None:
    fleet, options = cases()[number]
    with pytest.raises(Infeasible, match="What breaks them least") as caught:
        solve_milp(Problem.of(fleet, **options))
    told = str(caught.value).partition(" as well. ")[0]
    for words, field in (("mean wait", "mean_wait_s"), ("rank budget", "rank_budget")):
        assert (f"a {words} of" in told) == (options.get(field) is not None)
    changed = relaxed(options, caught.value)
    assert changed != options
    assert best_shared(fleet, Problem.of(fleet, **changed).question).value is not None
    moved = [name for name in FIELDS.values() if changed.get(name) != options.get(name)]
    if len(moved) == 1:
        (name,) = moved
        asked, given = options[name], changed[name]
        # A hundredth less of the change, and the other limits as they were, is not enough.
        less = given - (given - asked) * 0.01
        tighter = {**options, name: int(given) - 1 if name == "rank_budget" else less}
        assert best_shared(fleet, Problem.of(fleet, **tighter).question).value is None
