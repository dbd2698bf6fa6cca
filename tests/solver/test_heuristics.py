"""Heuristics from outside: priced, bounded and judged as the policies here are."""

from pathlib import Path
from typing import Any

import highspy
import numpy as np
import pytest

from profiler.schema import InputError
from solver import Infeasible, Problem, compare_frame, compare_policies, plan_of, price, solve
from solver.check import check
from solver.milp.write import write_program
from solver.plan import Plan
from tests.solver.instances import random_fleet

RANKS = [1, 2, 4]


def problem(seed: int, **question: Any) -> Problem:
    return Problem.of(random_fleet(seed), **{"ranks": RANKS, "round_time_s": 25.0, **question})


def ranks_of(plan: Plan) -> list[list[int] | None]:
    shapes = [plan.configuration_of(d) for d in plan.devices]
    return [None if shape is None else shape.ranks for shape in shapes]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("structure", ["shared", "own"])
def test_the_ranks_of_a_plan_make_that_plan_again(seed: int, structure: str) -> None:
    asked = problem(seed, structure=structure, leave_out="unable")
    known = solve(asked)
    made = plan_of(asked, ranks_of(known), policy="copy")
    assert check(made, asked.fleet).ok
    assert made.question.policy == "copy"
    assert made.predicted == known.predicted
    assert made.certificate.bound is not None
    assert made.certificate.bound >= known.predicted.utility * (1 - 1e-9)
    names = [device.name for device in known.devices]
    priced = price(asked, dict(zip(names, ranks_of(known), strict=True)))
    assert priced.utility == pytest.approx(known.predicted.utility)
    assert priced.round_time_s == pytest.approx(known.predicted.round_time_s)
    assert priced.fits.all()
    for i, device in enumerate(known.devices):
        if device.predicted is not None:
            assert priced.devices["memory_bytes"][i] == pytest.approx(
                device.predicted.memory_bytes
            )


def test_what_does_not_fit_is_priced_and_refused_or_left_out() -> None:
    everything = np.full((4, 3), 4)
    times_s = price(problem(0), everything).devices["time_s"]
    asked = problem(0, round_time_s=float(np.median(times_s)))
    priced = price(asked, everything)
    assert priced.fits.any()
    assert not priced.fits[times_s > np.median(times_s)].any()
    with pytest.raises(Infeasible, match="needs"):
        plan_of(asked, everything)
    left = plan_of(asked, everything, leave_out=True)
    assert [d.configuration is None for d in left.devices] == (~priced.fits).tolist()
    assert check(left, asked.fleet).ok


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        ([[1, 1, 1]] * 3, "ranks are of 3 devices; the fleet has 4"),
        ([[1, 1]] * 4, "device 'd0': ranks are .1, 1.; expected 3 whole numbers"),
        ([[0, 0, 3]] * 4, "rank 3 is none of the problem's; it has 1, 2, 4"),
        ([[0, 0, 1.5]] * 4, "rank 1.5 is none"),
        ([[1, 0, 1]] * 4, "expected a device to adapt its last layers"),
        ({"d9": [0, 0, 1]}, "ranks are of 'd9', which is no device"),
        ([None] * 4, "no device takes part"),
    ],
)
def test_what_are_no_ranks_of_the_problem_is_named(ranks: Any, words: str) -> None:
    for judge in (price, plan_of):
        with pytest.raises(InputError, match=words):
            judge(problem(0), ranks)


def test_a_heuristic_stands_beside_the_policies() -> None:
    def top_layer(asked: Problem) -> list[list[int]]:
        return [[0, 0, 4]] * len(asked.fleet.devices)

    def overdone(asked: Problem) -> list[list[int]]:
        return [[4, 4, 4]] * len(asked.fleet.devices)

    options: dict[str, Any] = {"ranks": RANKS, "round_time_s": 12.0}
    rows = compare_policies(random_fleet(0), ["exact", top_layer, overdone], options)
    found: dict[str, dict[str, Any]] = compare_frame(rows).to_dict("index")  # type: ignore[assignment]
    assert list(found)[-2:] == ["top_layer", "overdone"]
    assert found["top_layer"]["utility"] <= found["exact, own ranks"]["utility"]
    assert found["top_layer"]["gap_fraction"] > 0
    assert np.isnan(found["overdone"]["utility"])
    assert "infeasible" in found["overdone"]["reason"]


@pytest.mark.parametrize("ending", [".lp", ".mps"])
@pytest.mark.parametrize(
    "question",
    [
        {},
        {"structure": "own"},
        {"structure": "capped", "rank_budget": 7},
        {"objective": "time", "min_utility": 1.0, "round_time_s": None},
    ],
    ids=str,
)
def test_a_program_on_file_has_the_same_optimum(
    ending: str, question: dict[str, Any], tmp_path: Path
) -> None:
    asked = problem(3, **question)
    path = tmp_path / f"program{ending}"
    unit = write_program(asked, path)
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.readModel(str(path))
    highs.run()
    found = highs.getInfo().objective_function_value * unit
    assert found == pytest.approx(solve(asked).certificate.value, rel=1e-6)


def test_other_endings_and_objectives_have_no_program(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in '.txt'; expected .lp or .mps"):
        write_program(problem(0), tmp_path / "a.txt")
    with pytest.raises(InputError, match="has no program of its own"):
        write_program(problem(0, objective="efficiency", min_utility=0.5), tmp_path / "a.lp")
