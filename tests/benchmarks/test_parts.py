"""The parts that cases share: child processes, CP-SAT, models, instances."""

import importlib
import importlib.util
import sys
import time
from pathlib import Path

import pytest

from benchmarks.child import TimedOut, in_child
from benchmarks.instances import paper_80
from benchmarks.models import BASE, MEDIUM, TINY, write_config
from profiler.closed_form.architectures import read_architecture
from profiler.configs import load_config
from profiler.schema import InputError


def double(number: int) -> dict[str, int]:
    print("this goes to stderr")
    return {"twice": 2 * number, "modules": int("torch" in sys.modules)}


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def fail() -> None:
    raise ValueError("as it must")


def lack() -> None:
    importlib.import_module("no_such_module_for_a_test")


def grow(megabytes: int) -> int:
    from benchmarks.child import peak_rss_bytes, restart_peak, rss_bytes

    bytearray(40 * 2**20)
    before = rss_bytes()
    restart_peak()
    block = bytearray(megabytes * 2**20)
    block[:: 2**12] = b"x" * len(block[:: 2**12])
    del block
    return peak_rss_bytes() - before


def test_functions_run_elsewhere() -> None:
    assert in_child(double, {"number": 21}) == {"twice": 42, "modules": 0}


def test_late_processes_are_killed() -> None:
    with pytest.raises(TimedOut, match="took longer than"):
        in_child(sleep, {"seconds": 60}, timeout_s=0.5)


def test_failures_come_back_as_one_line() -> None:
    with pytest.raises(InputError, match="code 1: ValueError: as it must") as raised:
        in_child(fail, {})
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux only")
def test_memory_is_counted_from_the_restart_on() -> None:
    grown = in_child(grow, {"megabytes": 30})
    assert 28 * 2**20 < grown < 34 * 2**20


NEEDS_ORTOOLS = pytest.mark.skipif(
    importlib.util.find_spec("ortools") is None, reason="needs ortools"
)


@pytest.mark.parametrize(
    ("form", "solver"),
    [
        pytest.param("arcs", "CP-SAT", marks=NEEDS_ORTOOLS),
        ("arcs", "scipy"),
        ("arcs", "PuLP+HiGHS"),
        ("disaggregated", "PuLP+CBC"),
    ],
)
def test_every_peer_agrees_with_the_dynamic_program(form: str, solver: str) -> None:
    from benchmarks.cases.dp_vs_milp import race

    found = in_child(
        race,
        {
            "devices": 5,
            "model": "distilbert-base-uncased",
            "ranks": [2, 4, 8],
            "form": form,
            "solver": solver,
            "limit_s": 60,
            "seed": 1,
        },
    )
    assert found["proven"]
    assert found["difference"] < 1e-6
    assert len(found["dp_s"]) == 14


@pytest.mark.parametrize("seed", range(3))
def test_the_sparse_program_is_the_one_written_with_pulp(seed: int) -> None:
    from benchmarks import scipy_milp
    from solver.allocation import utility
    from solver.exact import maximise_utility
    from solver.milp.arcs import arcs

    problem = paper_80(seed, devices=9, model="distilbert-base-uncased", ranks=(1, 3, 4, 7))
    flow, program = scipy_milp.write(problem), arcs(problem).program
    assert flow.incidence.shape == (program.numConstraints(), program.numVariables())
    written = sorted(program.objective.values())
    assert sorted(g for g in flow.gain.tolist() if g) == pytest.approx(
        [g for g in written if g], rel=1e-12
    )
    proven, values = scipy_milp.solve(flow, 60.0)
    assert proven
    assert values is not None
    found = scipy_milp.read(problem, flow, values)
    assert utility(problem, found) == pytest.approx(maximise_utility(problem).value, rel=1e-9)


def test_a_bare_environment_plans() -> None:
    from benchmarks.cases.derive import plan_bare

    assert in_child(plan_bare, {}) == 0


def test_large_fleets_are_solved_to_the_bound() -> None:
    from benchmarks.cases.dp_scale import plan

    found = in_child(plan, {"devices": 200, "seed": 0})
    assert found["gap_fraction"] < 1e-9
    assert found["utility"] > 0


def test_instances_repeat_and_leave_something_to_decide() -> None:
    first, again, other = paper_80(1), paper_80(1), paper_80(2)
    assert first.fleet.devices == again.fleet.devices
    assert first.fleet.devices != other.fleet.devices
    assert first.question.budgets.round_time_s == again.question.budgets.round_time_s


@pytest.mark.parametrize("name", [*TINY, *MEDIUM, BASE])
def test_models_have_a_config_that_closed_forms_read(name: str, tmp_path: Path) -> None:
    folder = write_config(name, tmp_path)
    assert read_architecture(load_config(str(folder))[1]).layers in (4, 8, 12)


def test_memory_is_compared_with_the_allocator(tmp_path: Path) -> None:
    from benchmarks.cases.profiler_memory import compare

    folder = str(write_config("gpt2-tiny", tmp_path))
    (one,) = compare(folder, count=1, seeds=1)
    assert one["saved_bytes"] == 0
    assert one["peak_bytes"] <= 128
    assert one["affine_percent"] < 0.5
    assert one["closed_percent"] < 1


def test_a_module_that_a_child_lacks_is_named() -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        in_child(lack, {})
    assert caught.value.name == "no_such_module_for_a_test"
