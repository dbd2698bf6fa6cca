"""Plans where next to nothing fits: the least configuration is found by every structure."""

import pytest

from solver.check import check
from solver.least import least_round_time_s
from solver.plan import Structure
from solver.planner import solve
from solver.problem import Problem
from tests.solver.questions import random_case


@pytest.mark.parametrize("structure", ["shared", "capped", "own"])
def test_the_least_round_time_has_a_plan_whatever_the_slopes(structure: Structure) -> None:
    tried = 0
    for seed in range(24):
        fleet, options = random_case(seed, slope_noise=0.4)
        kept = {name: options[name] for name in ("ranks", "min_depth") if name in options}
        patient = Problem.of(fleet, structure=structure, **kept)
        shortest_s = least_round_time_s(patient)
        if shortest_s is None:
            continue
        tried += 1
        problem = patient.under(round_time_s=shortest_s * (1 + 1e-9))
        assert check(solve(problem), fleet).ok
    assert tried > 8
