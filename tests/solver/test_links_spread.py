"""Scales of an int8 codec on shared links, where layers differ in size."""

import math
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from profiler.schema import Fleet, InputError
from solver.check import check
from solver.errors import Infeasible, Stopped
from solver.exact import maximise_utility
from solver.explain.repair import short_wait_s
from solver.milp.solve import solve_milp
from solver.planner import solve
from solver.problem import Problem
from tests.solver.exhaustive import need
from tests.solver.linked import with_links
from tests.solver.mixed import mixed_case, values
from tests.solver.questions import random_case

# A rank of a layer of 32 parameters takes 8 bytes of scales: far more than of any real one.
SIZES = (32, 48, 96, 160)


def uneven(seed: int) -> tuple[Fleet, dict[str, Any]]:
    """A question with tight links, layers of different sizes, and int8 one way or both."""
    rng = np.random.default_rng(seed + 5 * 10**6)
    fleet, options = mixed_case(seed)
    layers = fleet.model.layers
    sizes = rng.permutation(SIZES)[:layers].tolist()
    fleet = replace(fleet, lora=replace(fleet.lora, parameters_per_rank=sizes))
    fleet = with_links(fleet, seed, tight=float(rng.uniform(1, 3)))
    # Not twice as fast down as up, so that both ways do not add up to one size.
    links = [
        replace(k, downlink_bytes_per_s=k.uplink_bytes_per_s * float(rng.uniform(0.3, 3)))
        for k in fleet.links
    ]
    ways = ((True, False), (False, True), (True, True))[seed % 3]
    for way, coded in zip(("upload_codec", "download_codec"), ways, strict=True):
        options[way] = "int8" if coded else str(rng.choice(["none", "float16"]))
    options["round_time_s"] = options["round_time_s"] or 5.0
    return replace(fleet, links=links), options | {"objective": "utility", "min_utility": None}


def asked(seed: int) -> tuple[Fleet, Problem] | None:
    fleet, options = uneven(seed)
    try:
        return fleet, Problem.of(fleet, **options)
    except InputError:
        return None


def test_no_plan_is_better_than_the_bound_and_none_breaks_a_link() -> None:
    found = near = 0
    for seed in range(45):
        case = asked(seed)
        if case is None or case[0].model.layers != 2 + (len(case[0].devices) < 3):
            continue
        fleet, problem = case
        try:
            outcome = maximise_utility(problem)
            plan = solve(problem)
        except InputError:
            continue
        except (Infeasible, Stopped) as error:
            if error.exit_code == 3 and list(values(fleet, problem.question)):
                pytest.fail(f"seed {seed} is said to have no plan")
            continue
        assert check(plan, fleet).ok, (seed, check(plan, fleet).failed)
        best = max(values(fleet, problem.question))
        assert outcome.bound is not None
        assert outcome.value <= best * (1 + 1e-9), seed
        assert outcome.bound >= best * (1 - 1e-9), seed
        found += 1
        near += outcome.value >= best * (1 - 1e-9)
    assert found >= 6
    assert near >= 0.7 * found


def test_the_program_counts_scales_exactly() -> None:
    solved = 0
    for seed in range(60):
        case = asked(seed)
        if case is None or case[1].question.structure == "own":
            continue
        fleet, problem = case
        if fleet.model.layers != 2 or problem.question.rank_shape == "progression":
            continue
        best = max(values(fleet, problem.question), default=None)
        try:
            value = solve_milp(problem).value
        except Infeasible:
            assert best is None, seed
            continue
        solved += 1
        assert value == pytest.approx(best, rel=1e-6), seed
    assert solved >= 3


def test_layers_of_one_size_and_wide_links_need_no_spreading() -> None:
    fleet, _ = random_case(3, devices=4)
    even = with_links(fleet, 3, tight=2.0)
    problem = Problem.of(even, ranks=[1, 2], upload_codec="int8", round_time_s=20.0)
    assert problem.costs.links is not None
    assert not problem.costs.links.flat
    lora = replace(fleet.lora, parameters_per_rank=list(SIZES[: fleet.model.layers]))
    wide = with_links(replace(fleet, lora=lora), 3, tight=1e-6)
    asked: dict[str, Any] = {"ranks": [1, 2], "upload_codec": "int8", "round_time_s": 20.0}
    free = replace(wide, links=[], devices=[replace(d, link="") for d in wide.devices])
    linked, alone = (maximise_utility(Problem.of(each, **asked)) for each in (wide, free))
    assert (linked.value, linked.bound) == (alone.value, alone.bound)
    assert linked.method == alone.method


def test_a_link_that_the_least_configuration_overloads_is_named_with_its_true_time() -> None:
    fleet, _ = random_case(3, devices=4)
    lora = replace(fleet.lora, parameters_per_rank=list(SIZES[: fleet.model.layers]))
    fleet = replace(with_links(replace(fleet, lora=lora), 3, tight=50.0))
    asked: dict[str, Any] = {"ranks": [1, 2], "upload_codec": "int8", "download_codec": "int8"}
    with pytest.raises(Infeasible, match="is busy for") as refused:
        solve(Problem.of(fleet, round_time_s=20.0, **asked))
    problem = Problem.of(fleet, **asked)
    one = (1,) * fleet.model.layers
    sent = {
        d.name: d.count * need(fleet, d, one, 1, problem.question).sent_bytes
        for d in fleet.devices
    }
    longest = 0.0
    parents = {k.name: k.parent for k in fleet.links}
    total = dict.fromkeys(parents, 0.0)
    for device in fleet.devices:
        at = device.link
        while at:
            total[at] += sent[device.name]
            at = parents[at]
    for link in fleet.links:
        busy = total[link.name] * (1 / link.uplink_bytes_per_s + 1 / link.downlink_bytes_per_s)
        longest = max(longest, busy)
    assert refused.value.least_round_time_s is not None
    assert math.isclose(refused.value.least_round_time_s, longest, rel_tol=1e-9)


def test_a_wait_that_can_be_kept_is_named() -> None:
    named = 0
    for seed in range(40):
        case = asked(seed)
        if case is None or case[1].question.structure != "shared":
            continue
        fleet, problem = case
        patient = problem.under(mean_wait_s=None)
        try:
            wait_s = short_wait_s(patient)
        except (Infeasible, Stopped, InputError):
            continue
        every = values(fleet, problem.under(mean_wait_s=wait_s * (1 + 1e-9)).question)
        assert next(every, None) is not None, seed
        named += 1
    assert named >= 5
