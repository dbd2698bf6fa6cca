"""Shared links against exhaustive search, a mixed-integer program, and what must hold."""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from profiler.schema import Fleet, InputError, Link
from solver.check import check
from solver.errors import Infeasible, Stopped
from solver.exact import maximise_utility
from solver.least import least_round_time_s
from solver.links.graph import that_may_bind
from solver.milp.solve import solve_milp
from solver.plan import Plan, Question, Structure
from solver.planner import solve
from solver.problem import Problem
from solver.whatif import changed
from tests.solver.exhaustive import fits, layer_gain, need, rank_vectors, weights
from tests.solver.questions import random_case

SLACK = 1e-10


def with_links(fleet: Fleet, seed: int, *, tight: float = 1.0) -> Fleet:
    """Two access points, one behind a site and one straight to the server; one device free."""
    rng = np.random.default_rng(seed)
    top = (fleet.gain.ranks[-1],) * fleet.model.layers
    everything = sum(
        d.count * need(fleet, d, top, fleet.model.layers).sent_bytes for d in fleet.devices
    )

    def link(name: str, parent: str, share: float) -> Link:
        speed = everything * share / 4 / tight
        return Link(
            name=name, parent=parent, uplink_bytes_per_s=speed, downlink_bytes_per_s=2 * speed
        )

    links = [
        link("site", "", float(rng.uniform(0.3, 1.5))),
        link("ap-1", "site", float(rng.uniform(0.1, 1.0))),
        link("ap-2", "", float(rng.uniform(0.1, 1.0))),
    ]
    places = ["ap-1", "site", "ap-2", ""]
    devices = [
        replace(d, link=places[int(rng.choice(4, p=[0.4, 0.2, 0.3, 0.1]))])
        for d in fleet.devices
    ]
    return replace(fleet, devices=devices, links=links)


def linked_case(seed: int) -> tuple[Fleet, dict[str, Any]]:
    fleet, options = random_case(seed, slope_noise=0.3 * (seed % 2))
    fleet = with_links(fleet, seed)
    if options["round_time_s"] is None:
        options["round_time_s"] = 5.0
    if seed % 3 == 0:
        options["mean_wait_s"] = float(np.random.default_rng(seed).uniform(0.1, 0.6)) * 5
    return fleet, options


def link_times(fleet: Fleet, sent: list[float]) -> list[float]:
    """Busy time of every link, from what every device sends and receives."""
    parents = {link.name: link.parent for link in fleet.links}
    total = dict.fromkeys(parents, 0.0)
    for device, size in zip(fleet.devices, sent, strict=True):
        at = device.link
        while at:
            total[at] += device.count * size
            at = parents[at]
    return [
        total[k.name] / k.uplink_bytes_per_s + total[k.name] / k.downlink_bytes_per_s
        for k in fleet.links
    ]


def best_linked(fleet: Fleet, question: Question, structure: str) -> float | None:
    """Largest utility over all ranks, caps and depths of all devices."""
    vectors = list(rank_vectors(fleet.model.layers, question))
    share = weights(fleet, question)
    counts = [d.count for d in fleet.devices]

    def choices(device: Any, ranks: tuple[int, ...], capped: bool) -> set[Any]:
        caps = question.rank_choices if capped else [max(ranks, default=1)]
        found = set()
        for cap in caps:
            own = tuple(min(r, cap) for r in ranks)
            for depth in range(question.min_depth, len(own) + 1):
                needs = need(fleet, device, own, depth)
                if fits(device, question, needs):
                    gain = math.fsum(layer_gain(fleet, j, own[j]) for j in range(depth))
                    found.add((gain, needs.time_s, needs.sent_bytes))
        return found

    best = None
    tables = (
        [[set().union(*(choices(d, r, False) for r in vectors)) for d in fleet.devices]]
        if structure == "own"
        else [[choices(d, r, structure == "capped") for d in fleet.devices] for r in vectors]
    )
    for table in tables:
        for chosen in product(*table):
            busy = link_times(fleet, [c[2] for c in chosen])
            round_s = max([c[1] for c in chosen] + busy)
            budget = question.budgets.round_time_s
            if budget is not None and round_s > budget * (1 + SLACK):
                continue
            wait = sum(n * (round_s - c[1]) for n, c in zip(counts, chosen, strict=True))
            epsilon = question.budgets.mean_wait_s
            if epsilon is not None and wait / sum(counts) > epsilon * (1 + SLACK):
                continue
            value = math.fsum(w * c[0] for w, c in zip(share, chosen, strict=True))
            best = value if best is None else max(best, value)
    return best


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
        best = best_linked(fleet, problem.question, structure)
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
        best = best_linked(fleet, problem.question, structure)
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
