"""Shared links against exhaustive search, a mixed-integer program, and what must hold."""

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from profiler.schema import Fleet, InputError
from solver.check import check
from solver.errors import Infeasible, Stopped
from solver.exact import maximise_utility
from solver.least import least_round_time_s
from solver.links.graph import that_may_bind
from solver.milp.solve import solve_milp
from solver.plan import Plan, Structure
from solver.planner import solve
from solver.problem import Problem
from solver.whatif import changed
from tests.solver.linked import linked_case, with_links
from tests.solver.mixed import best_value
from tests.solver.questions import random_case

SLACK = 1e-10


def plan_of(fleet: Fleet, problem: Problem) -> Plan | None:
    try:
        plan = solve(problem)
    except (Infeasible, Stopped):
        return None
    verdict = check(plan, fleet)
    assert verdict.ok, verdict.failed
    return plan


@pytest.mark.parametrize("structure", ["shared", "capped", "own"])
def test_no_plan_is_better_than_the_bound_and_none_breaks_a_link(structure: Structure) -> None:
    found, near = 0, 0
    for seed in range(50):
        fleet, options = linked_case(seed)
        if structure == "own":
            options.pop("rank_budget", None)
        if len(fleet.devices) > 3 or (structure == "own" and fleet.model.layers > 2):
            continue
        problem = Problem.of(fleet, structure=structure, **options)
        best = best_value(fleet, problem.question, structure)
        plan = plan_of(fleet, problem)
        if best is None:
            assert plan is None
            continue
        if plan is None:
            assert options.get("mean_wait_s") is not None
            continue
        found += 1
        certificate = plan.certificate
        assert certificate.value <= best * (1 + 1e-9)
        assert certificate.bound is not None
        assert certificate.bound >= best * (1 - 1e-9)
        near += certificate.value >= best * (1 - 1e-9)
    assert found >= 8
    assert near >= 0.7 * found


@pytest.mark.parametrize("structure", ["shared", "capped"])
def test_the_program_agrees_with_exhaustive_search(structure: Structure) -> None:
    solved = 0
    for seed in range(24):
        fleet, options = linked_case(seed)
        if len(fleet.devices) > 3 or fleet.model.layers > 2:
            continue
        problem = Problem.of(fleet, structure=structure, **options)
        best = best_value(fleet, problem.question, structure)
        try:
            value = solve_milp(problem).value
        except Infeasible:
            assert best is None
            continue
        solved += 1
        assert best is not None
        assert value == pytest.approx(best, rel=1e-6)
    assert solved >= 2


def tight_problem(seed: int, **options: Any) -> Problem:
    fleet, _ = random_case(seed, devices=4)
    fleet = with_links(fleet, seed, tight=2.0)
    problem = Problem.of(fleet, ranks=range(1, fleet.gain.ranks[-1] + 1), **options)
    return problem.under(round_time_s=1.3 * (least_round_time_s(problem) or 0.0))


@pytest.mark.parametrize("seed", range(6))
def test_more_capacity_never_lowers_the_bound_below_a_known_plan(seed: int) -> None:
    problem = tight_problem(seed)
    narrow = maximise_utility(problem)
    fleet = problem.fleet
    wider = replace(
        fleet,
        links=[replace(k, uplink_bytes_per_s=2 * k.uplink_bytes_per_s) for k in fleet.links],
    )
    wide = maximise_utility(
        Problem.of(
            wider,
            ranks=problem.question.rank_choices,
            round_time_s=problem.question.budgets.round_time_s,
        )
    )
    assert wide.bound is not None
    assert wide.bound >= narrow.value * (1 - 1e-9)
    free = maximise_utility(
        Problem.of(
            replace(fleet, links=[], devices=[replace(d, link="") for d in fleet.devices]),
            ranks=problem.question.rank_choices,
            round_time_s=problem.question.budgets.round_time_s,
        )
    )
    assert free.bound is not None
    assert narrow.value <= free.bound * (1 + 1e-9)


def test_links_that_are_left_out_never_bind() -> None:
    """Random trees: whatever keeps the links that are kept keeps all of them."""
    dropped = 0
    for seed in range(20):
        problem = tight_problem(seed)
        links = problem.costs.links
        if links is None:
            continue
        rng = np.random.default_rng(seed)
        most = rng.uniform(50, 500, len(links.own))
        least = most * rng.uniform(0, 0.5)
        limit_s = float(
            links.busy_s(most, np.ones(len(most), bool)).max() * rng.uniform(0.4, 1)
        )
        kept = that_may_bind(links, most, least, limit_s)
        dropped += len(links.names) - len(kept)
        for _ in range(200):
            size = rng.uniform(least, most)
            busy = links.busy_s(size, np.ones(len(size), bool))
            if (busy[kept] <= limit_s).all():
                assert (busy <= limit_s * (1 + 1e-12)).all()
    assert dropped > 5


def test_tampered_links_are_found() -> None:
    problem = tight_problem(2)
    fleet = problem.fleet
    plan = solve(problem)
    assert check(plan, fleet).ok
    first, *others = plan.links
    wrong = {
        "links.busy_s": [replace(first, busy_s=first.busy_s * 1.01 + 0.1), *others],
        "links.upload_bytes": [replace(first, upload_bytes=first.upload_bytes + 1), *others],
        "links.download_bytes": [replace(first, download_bytes=0.5), *others],
        "links": others,
    }
    for name, links in wrong.items():
        assert name in {c.name for c in check(replace(plan, links=links), fleet).failed}
    moved = [replace(d, link="") for d in plan.devices]
    failed = {c.name for c in check(replace(plan, devices=moved), fleet).failed}
    assert "devices.link" in failed


def test_an_overloaded_link_fails_the_check_and_is_named_when_nothing_fits() -> None:
    problem = tight_problem(1)
    plan, fleet = solve(problem), problem.fleet
    slow = replace(
        fleet,
        links=[replace(k, uplink_bytes_per_s=k.uplink_bytes_per_s / 50) for k in fleet.links],
    )
    assert "links.budget" in {c.name for c in check(plan, slow).failed}
    with pytest.raises(Infeasible, match=r"link .* is busy for .* and the round takes") as seen:
        solve(
            Problem.of(
                slow,
                ranks=problem.question.rank_choices,
                round_time_s=problem.question.budgets.round_time_s,
            )
        )
    assert seen.value.least_round_time_s is not None
    again = Problem.of(
        slow,
        ranks=problem.question.rank_choices,
        round_time_s=seen.value.least_round_time_s * (1 + 1e-9),
    )
    assert check(solve(again), slow).ok


def test_a_policy_that_overloads_a_link_is_refused_by_name() -> None:
    problem = tight_problem(1, policy="hetlora")
    slow = replace(
        problem.fleet,
        links=[
            replace(k, uplink_bytes_per_s=k.uplink_bytes_per_s / 50)
            for k in problem.fleet.links
        ],
    )
    with pytest.raises(
        Infeasible, match="policy 'hetlora' does not look at shared links: link"
    ):
        solve(Problem.of(slow, policy="hetlora", ranks=[1, 2], round_time_s=60.0))


def test_what_if_a_link_were_another() -> None:
    fleet = tight_problem(1).fleet
    after = changed(fleet, ["link=ap-1,uplink_mbit_per_s=8"])
    assert [k.uplink_bytes_per_s for k in after.links if k.name == "ap-1"] == [1e6]
    assert after.devices == fleet.devices
    for text, said in [
        ("link=ap-9,uplink_mbit_per_s=1", "no link 'ap-9'"),
        ("link=ap-1,memory_gb=1", "a link has only"),
        ("link=ap-1,uplink_mbit_per_s=0", "above 0"),
    ]:
        with pytest.raises(InputError, match=said):
            changed(fleet, [text])


def test_a_wait_that_no_round_is_long_enough_for_changes_nothing() -> None:
    solved = 0
    for seed in range(12):
        fleet, options = linked_case(seed)
        options["mean_wait_s"] = None
        free = plan_of(fleet, Problem.of(fleet, **options))
        # So large a number alone made a linear program that no solver takes.
        held = plan_of(fleet, Problem.of(fleet, **options | {"mean_wait_s": 1e300}))
        assert (free is None) == (held is None)
        if free is not None and held is not None:
            solved += 1
            assert held.predicted.utility == pytest.approx(free.predicted.utility, rel=1e-9)
            assert held.certificate.bound == pytest.approx(free.certificate.bound, rel=1e-9)
    assert solved > 5
