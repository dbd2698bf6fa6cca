"""Caches, codecs, shapes, depths, waits and shared links in one question: nothing unsound."""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest

from profiler.schema import Fleet, FleetDevice, InputError
from solver.check import check
from solver.compare import compare_policies
from solver.deadline import within
from solver.errors import Infeasible, Stopped
from solver.least import least_round_time_s
from solver.methods import plan_with
from solver.plan import Question
from solver.planner import solve
from solver.problem import Problem
from tests.solver.exhaustive import fits, layer_gain, need, rank_vectors, weights
from tests.solver.questions import more_options, random_case
from tests.solver.test_links import with_links

SLACK = 1e-10
# Seeds of which one found each defect of the merge of these parts, before downloads had codecs.
FOUND = (381, 385, 1280, 1916)


class Choice(NamedTuple):
    gain: float
    time_s: float
    sent_bytes: float
    received_bytes: float
    depth: int


def mixed_case(seed: int) -> tuple[Fleet, dict[str, Any]]:
    """Everything that a question may ask for, drawn by the seed."""
    rng = np.random.default_rng(seed + 10**6)
    noise = 0.3 * float(rng.random() < 0.3)
    fleet, options = random_case(seed, devices=3, slope_noise=noise)
    options |= more_options(fleet, rng)
    if rng.random() < 0.5:
        fleet = with_links(fleet, seed)
        options["round_time_s"] = options["round_time_s"] or 5.0
    if rng.random() < 0.5:
        share = float(rng.uniform(0.02, 0.6))
        options["mean_wait_s"] = share * (options["round_time_s"] or 5)
    options["structure"] = str(rng.choice(["shared", "shared", "capped", "own"]))
    options["objective"] = str(
        rng.choice(["utility", "utility", "time", "efficiency", "legend"])
    )
    if options["objective"] in ("time", "efficiency"):
        options["min_utility"] = float(rng.uniform(0.05, 0.9))
    if options["structure"] != "shared":
        options["rank_shape"] = "free"
    return fleet, options


def choices(
    fleet: Fleet, question: Question, device: FleetDevice, ranks: tuple[int, ...]
) -> set[Choice]:
    """What a device may do with server ranks, at any cap if ranks are capped."""
    capped = question.structure == "capped"
    caps = question.rank_choices if capped else [max(ranks, default=1)]
    most = len(ranks) if question.max_depth is None else min(question.max_depth, len(ranks))
    found = set()
    for cap, depth in product(caps, range(question.min_depth, most + 1)):
        own = tuple(min(r, cap) for r in ranks)
        needs = need(fleet, device, own, depth, question)
        if fits(device, question, needs):
            gain = math.fsum(layer_gain(fleet, j, own[j]) for j in range(depth))
            sizes = (needs.sent_bytes, needs.received_bytes)
            found.add(Choice(gain, needs.time_s, *sizes, depth))
    return found


def busiest_s(fleet: Fleet, chosen: tuple[Choice, ...]) -> float:
    """Busy time of the busiest link."""
    parents = {link.name: link.parent for link in fleet.links}
    total = {name: [0.0, 0.0] for name in parents}
    for device, choice in zip(fleet.devices, chosen, strict=True):
        at = device.link
        while at:
            total[at][0] += device.count * choice.sent_bytes
            total[at][1] += device.count * choice.received_bytes
            at = parents[at]
    return max(
        (
            total[k.name][0] / k.uplink_bytes_per_s + total[k.name][1] / k.downlink_bytes_per_s
            for k in fleet.links
        ),
        default=0.0,
    )


def values(fleet: Fleet, question: Question) -> Iterator[float]:
    """Value of every plan, larger is better."""
    vectors = list(rank_vectors(fleet.model.layers, question))
    tables = [[choices(fleet, question, d, r) for d in fleet.devices] for r in vectors]
    if question.structure == "own":
        tables = [[set().union(*every) for every in zip(*tables, strict=True)]]
    share, counts = weights(fleet, question), [d.count for d in fleet.devices]
    budgets, floor = question.budgets, question.min_utility or 0.0
    for chosen in (each for table in tables for each in product(*table)):
        round_s = max(*(c.time_s for c in chosen), busiest_s(fleet, chosen))
        waited = sum(n * (round_s - c.time_s) for n, c in zip(counts, chosen, strict=True))
        limits = (
            (round_s, budgets.round_time_s),
            (waited / sum(counts), budgets.mean_wait_s),
        )
        if any(top is not None and seen > top * (1 + SLACK) for seen, top in limits):
            continue
        gained = math.fsum(w * c.gain for w, c in zip(share, chosen, strict=True))
        if gained < floor * (1 - SLACK):
            continue
        yield {
            "utility": gained,
            "time": -round_s,
            "efficiency": gained / round_s,
            "legend": math.fsum(w * c.depth for w, c in zip(share, chosen, strict=True)),
        }[question.objective]


@pytest.mark.parametrize("limit_s", [None, 0.0])
def test_no_answer_is_unsound(limit_s: float | None) -> None:
    found, optimal = 0, 0
    for seed in (*range(40), *FOUND):
        fleet, options = mixed_case(seed)
        if seed in FOUND:
            options["download_codec"] = "none"
        try:
            problem = Problem.of(fleet, **options)
            with within(limit_s):
                plan = solve(problem, using=plan_with)
        except InputError:
            continue
        except (Infeasible, Stopped) as error:
            if isinstance(error, Infeasible) and error.proven:
                assert not list(values(fleet, problem.question)), seed
            continue
        verdict = check(plan, fleet)
        assert verdict.ok, (seed, verdict.failed)
        best = max(values(fleet, problem.question))
        certificate = plan.certificate
        assert certificate.bound is not None
        sign = -1 if problem.question.objective == "time" else 1
        slack = 1e-8 * max(1.0, abs(best))
        assert sign * certificate.value <= best + slack, seed
        assert sign * certificate.bound >= best - slack, seed
        found += 1
        optimal += certificate.status == "optimal"
    assert found >= 15
    assert optimal >= (10 if limit_s is None else 3)


def test_what_does_not_go_together_is_refused_in_a_line() -> None:
    fleet, _ = random_case(1, devices=4)
    fleet = with_links(fleet, 1, tight=2.0)
    with pytest.raises(InputError, match="a rank budget needs shared ranks"):
        solve(Problem.of(fleet, structure="own", rank_budget=3, round_time_s=60.0))
    problem = Problem.of(fleet, ranks=[1, 2], rank_shape="progression")
    tight = problem.under(round_time_s=1.001 * (least_round_time_s(problem) or 0.0))
    with pytest.raises(InputError, match="'progression' and shared links"):
        solve(tight)


def test_a_heuristic_that_overloads_a_link_is_refused_by_name() -> None:
    fleet, options = mixed_case(6045)
    fleet = with_links(fleet, 6045)
    options |= {"structure": "shared", "objective": "utility", "rank_shape": "free"}
    options |= {"mean_wait_s": None, "min_utility": None}
    problem = Problem.of(fleet, **options)
    with pytest.raises(Infeasible, match="'progression' does not look at shared links"):
        plan_with(problem, method="progression")
    assert check(solve(problem, using=plan_with), fleet).ok


def test_a_table_of_policies_shows_the_rows_that_there_are() -> None:
    fleet, _ = random_case(3, devices=4)
    rows = compare_policies(fleet, ["exact", "legend"], {"ranks": [1, 2], "rank_budget": 9})
    reasons = {row.policy: row.reason for row in rows}
    assert "a rank budget needs shared ranks" in reasons["exact, own ranks"]
    assert [row.plan is not None for row in rows] == [True, True, False, True]
