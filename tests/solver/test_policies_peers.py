"""The peers' policies against plain searches over what each of them may choose."""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from profiler.schema import Fleet, FleetDevice
from solver.check import check
from solver.errors import Infeasible
from solver.plan import Plan, Question
from solver.planner import solve
from solver.policies.fedhello import depth_groups
from solver.policies.hralora import rank_rows
from solver.problem import Problem
from tests.solver.exhaustive import best_depths, fits, layer_gain, need, weights
from tests.solver.instances import random_fleet
from tests.solver.questions import random_case, with_drop


def case(seed: int) -> tuple[Fleet, dict[str, Any]]:
    fleet, options = random_case(seed, slope_noise=0.3 * (seed % 2))
    return (with_drop(fleet, 0.5) if seed % 3 == 0 else fleet), options


def plan_of(fleet: Fleet, policy: str, seed: int = 0, **options: Any) -> Plan | None:
    try:
        plan = solve(Problem.of(fleet, policy=policy, **options), seed=seed)
    except Infeasible:
        return None
    verdict = check(plan, fleet)
    assert verdict.ok, (plan.question, verdict.failed)
    return plan


def gain_of(fleet: Fleet, rank: int, depth: int) -> float:
    return math.fsum(layer_gain(fleet, j, rank) for j in range(depth))


def reached(fleet: Fleet, question: Question, rank: int) -> int:
    """Layers that the rank budget lets have this rank."""
    budget = question.budgets.rank_budget
    return fleet.model.layers if budget is None else min(budget // rank, fleet.model.layers)


def affordable(fleet: Fleet, question: Question, device: FleetDevice, rank: int) -> list[int]:
    layers = fleet.model.layers
    return [
        k
        for k in range(question.min_depth, reached(fleet, question, rank) + 1)
        if fits(fleet, device, question, need(fleet, device, (rank,) * layers, k))
    ]


def every_depth(fleet: Fleet, question: Question) -> list[tuple[int, list[list[int]]]]:
    """Rank, and the depths that each device affords at it."""
    return [
        (rank, [affordable(fleet, question, d, rank) for d in fleet.devices])
        for rank in question.rank_choices
    ]


def utility_of(fleet: Fleet, question: Question, rank: int, depths: list[int]) -> float:
    pairs = zip(weights(fleet, question), depths, strict=True)
    return math.fsum(w * gain_of(fleet, rank, k) for w, k in pairs if k >= 0)


def same(plan: Plan | None, values: list[float]) -> None:
    """The plan has the largest of the values, and there is none where there are none."""
    assert (plan is None) == (not values)
    if plan is not None:
        assert plan.predicted.utility == pytest.approx(max(values), rel=1e-12)


SEEDS = range(700, 760)


def test_fedadapter_is_the_best_common_depth_and_rank() -> None:
    for seed in SEEDS:
        fleet, options = case(seed)
        question = Problem.of(fleet, **options).question
        values = [
            utility_of(fleet, question, rank, [k] * len(fleet.devices))
            for rank, depths in every_depth(fleet, question)
            for k in set.intersection(*map(set, depths))
        ]
        plan = plan_of(fleet, "fedadapter", **options)
        same(plan, values)
        assert plan is None or len(plan.configurations) == 1


def test_fedquad_is_the_deepest_at_the_best_uniform_rank() -> None:
    for seed in SEEDS:
        fleet, options = case(seed)
        if seed % 2:
            options["mean_wait_s"] = float(np.random.default_rng(seed).uniform(0, 2))
        question = Problem.of(fleet, **options).question
        found = [
            best_depths(fleet, question, (r,) * reached(fleet, question, r)).value
            for r in question.rank_choices
        ]
        same(
            plan_of(fleet, "fedquad", **options),
            [value for value in found if value is not None],
        )


def test_fedhello_is_the_deepest_group_at_the_best_uniform_rank() -> None:
    assert depth_groups(12, 0) == [6, 9, 12]
    assert depth_groups(6, 4) == [4, 5, 6]
    assert depth_groups(1, 0) == [1]
    for seed in SEEDS:
        fleet, options = case(seed)
        question = Problem.of(fleet, **options).question
        groups = depth_groups(fleet.model.layers, question.min_depth)
        values = []
        for rank, depths in every_depth(fleet, question):
            chosen = [max((k for k in ks if k in groups), default=-1) for ks in depths]
            if max(chosen) >= 0:
                values.append(utility_of(fleet, question, rank, chosen))
        plan = plan_of(fleet, "fedhello", **options)
        same(plan, values)
        assert plan is None or {c.depth for c in plan.configurations} <= set(groups)


def test_fedra_draws_every_affordable_depth_and_repeats_itself() -> None:
    fleet = random_fleet(3, layers=3, devices=1, max_rank=2)
    fleet = replace(fleet, devices=[replace(d, memory_bytes=0) for d in fleet.devices])
    seen = set()
    for seed in range(40):
        plan, again = (plan_of(fleet, "fedra", seed, ranks=[1, 2]) for _ in range(2))
        assert plan == again
        assert plan is not None
        seen.add(plan.configurations[0].depth)
    assert seen == {1, 2, 3}
    for number in SEEDS:
        fleet, options = case(number)
        question = Problem.of(fleet, **options).question
        plan = plan_of(fleet, "fedra", seed=number, **options)
        possible = [all(depths) for _, depths in every_depth(fleet, question)]
        assert (plan is None) == (not any(possible))
        if plan is not None:
            for device, planned in zip(fleet.devices, plan.devices, strict=True):
                shape = plan.configuration_of(planned)
                assert shape is not None
                rank = max(shape.ranks)
                assert rank == 0 or shape.depth in affordable(fleet, question, device, rank)


def test_flexlora_plans_as_hetlora_does() -> None:
    for seed in SEEDS:
        fleet, options = case(seed)
        one, other = (plan_of(fleet, name, **options) for name in ("flexlora", "hetlora"))
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert one.devices == other.devices


def own_ranks(plan: Plan) -> list[list[int]]:
    """Ranks of each device from the output; none where it is left out."""
    shapes = [plan.configuration_of(d) for d in plan.devices]
    return [[] if s is None else s.ranks[::-1] for s in shapes]


def rows_that_fit(fleet: Fleet, problem: Problem, device: FleetDevice) -> list[list[int]]:
    """Rank vectors of HRALoRA within memory, upload and download of a device."""
    known = problem.under(round_time_s=None, energy_j=None).question
    layers = fleet.model.layers
    return [
        row
        for row in rank_rows(problem).tolist()
        if fits(fleet, device, known, need(fleet, device, tuple(row), layers))
    ]


def test_hralora_spends_the_largest_budget_that_memory_and_traffic_allow() -> None:
    left_out = 0
    for seed in SEEDS:
        fleet, options = case(seed)
        problem, layers = Problem.of(fleet, **options), fleet.model.layers
        wanted = [rows_that_fit(fleet, problem, d) for d in fleet.devices]
        largest = [max(rows, key=sum, default=[]) for rows in wanted]
        waits = plan_of(fleet, "hralora-straggler", **options)
        assert (waits is None) == (not any(largest))
        if waits is not None:
            assert own_ranks(waits) == largest
            assert waits.question.budgets.round_time_s is None
        in_time = [
            row
            if row and fits(fleet, d, problem.question, need(fleet, d, tuple(row), layers))
            else []
            for d, row in zip(fleet.devices, largest, strict=True)
        ]
        left_out += sum(map(bool, largest)) - sum(map(bool, in_time))
        plan = plan_of(fleet, "hralora", **options)
        assert (plan is None) == (not any(in_time))
        if plan is not None:
            assert own_ranks(plan) == in_time
    assert left_out > 10


def test_hralora_gives_layers_ranks_in_proportion_to_their_gain() -> None:
    fleet = random_fleet(1, layers=3, max_rank=8)
    # From the output: 4, 2 and 1 at the largest rank.
    table = [[gain * m / 8 for m in range(1, 9)] for gain in (1.0, 2.0, 4.0)]
    fleet = replace(fleet, gain=replace(fleet.gain, by_layer=table))
    rows = rank_rows(Problem.of(fleet, ranks=range(1, 9))).tolist()
    assert [8, 4, 2] in rows
    assert [4, 2, 1] in rows
    assert rows[-1] == [8, 8, 8]
    assert [sum(row) for row in rows] == sorted({sum(row) for row in rows})


@pytest.mark.parametrize("codec", ["none", "int8"])
def test_flora_downloads_what_everybody_sends_and_never_less(codec: Any) -> None:
    planned = 0
    for seed in SEEDS:
        fleet, options = case(seed)
        plan = plan_of(fleet, "flora", upload_codec=codec, download_codec=codec, **options)
        if plan is None:
            continue
        planned += 1
        part = [d for d in plan.devices if d.predicted is not None]
        width = 2 if codec == "int8" else fleet.lora.bytes_per_parameter
        head = fleet.model.head_parameters * width
        sent = math.fsum(
            d.count * (d.predicted.upload_bytes - head) for d in part if d.predicted
        )
        for device in part:
            assert device.predicted is not None
            assert device.predicted.download_bytes == pytest.approx(sent + head)
            assert device.predicted.download_bytes >= device.predicted.upload_bytes
    assert planned > 20


def test_flora_may_not_be_priced_as_if_nothing_were_stacked() -> None:
    fleet = random_fleet(4)
    plan = plan_of(fleet, "flora", ranks=[1, 2, 3, 4])
    other = plan_of(fleet, "hetlora", ranks=[1, 2, 3, 4])
    assert plan is not None
    assert other is not None
    cheaper = replace(plan, question=replace(plan.question, download="own"))
    dearer = replace(other, question=replace(other.question, download="stacked"))
    for wrong in (cheaper, dearer):
        failed = {c.name for c in check(wrong, fleet).failed}
        assert "devices.predicted.download_bytes" in failed
        assert "devices.predicted.energy_j" in failed
        assert "predicted.round_time_s" in failed


def stacked_values(fleet: Fleet, options: dict[str, Any]) -> list[float]:
    """Utility of every choice of uniform ranks, or none, that fits with its own stack."""
    question = Problem.of(fleet, **options).question
    layers, values = fleet.model.layers, []
    sizes = sum(fleet.lora.parameters_per_rank)
    budget = question.budgets.rank_budget
    ranks = [r for r in question.rank_choices if budget is None or r * layers <= budget]
    for chosen in product([0, *ranks], repeat=len(fleet.devices)):
        stack = sum(d.count * r for d, r in zip(fleet.devices, chosen, strict=True)) * sizes
        pairs = [(d, r) for d, r in zip(fleet.devices, chosen, strict=True) if r]
        if pairs and all(fits_stack(fleet, question, d, r, stack) for d, r in pairs):
            shares = zip(weights(fleet, question), chosen, strict=True)
            values.append(math.fsum(w * gain_of(fleet, r, layers) for w, r in shares if r))
    return values


def fits_stack(
    fleet: Fleet, question: Question, device: FleetDevice, rank: int, stack: int
) -> bool:
    owner = next(c for c in fleet.classes if c.name == device.device_class)
    mine = need(fleet, device, (rank,) * fleet.model.layers, fleet.model.layers)
    head = fleet.model.head_parameters
    more = (stack + head) * fleet.lora.bytes_per_parameter - mine.sent_bytes
    budgets = question.budgets
    limits = [
        (mine.time_s + more / device.downlink_bytes_per_s, budgets.round_time_s),
        (mine.sent_bytes, budgets.upload_bytes),
        (mine.sent_bytes + more, budgets.download_bytes),
        (mine.energy_j + more * owner.device.radio_j_per_byte, budgets.energy_j),
        (mine.memory_bytes, device.memory_bytes or None),
    ]
    return all(limit is None or value <= limit * (1 + 1e-10) for value, limit in limits)


def test_flora_finds_a_plan_whenever_there_is_one_and_nearly_the_best() -> None:
    shares = []
    for seed in SEEDS:
        fleet, options = case(seed)
        values = stacked_values(fleet, options)
        plan = plan_of(fleet, "flora", **options)
        assert (plan is None) == (not values)
        if plan is not None:
            assert plan.predicted.utility <= max(values) * (1 + 1e-12)
            shares.append(plan.predicted.utility / max(values))
    assert np.mean(shares) > 0.95


@pytest.mark.parametrize("policy", ["fedlora-straggler", "hralora-straggler"])
def test_who_waits_is_bounded_by_plans_that_wait(policy: str) -> None:
    fleet = random_fleet(5, max_rank=4)
    fleet = replace(fleet, devices=[replace(d, memory_bytes=0) for d in fleet.devices])
    hasty, patient = (
        plan_of(fleet, policy, ranks=[1, 2], round_time_s=seconds) for seconds in (0.01, None)
    )
    assert hasty is not None
    assert patient is not None
    assert hasty.certificate == patient.certificate
    assert [d.binding for d in hasty.devices] == [d.binding for d in patient.devices]


@pytest.mark.parametrize("policy", ["hetlora", "flexlora", "hralora"])
def test_a_rank_budget_out_of_reach_is_what_is_named(policy: str) -> None:
    """Not a mean wait, which nobody asked for."""
    fleet = random_fleet(4, layers=3)
    fleet = replace(fleet, devices=[replace(d, memory_bytes=0) for d in fleet.devices])
    with pytest.raises(Infeasible, match="sum to 6 and the rank budget is 5") as refused:
        solve(Problem.of(fleet, policy=policy, ranks=[2, 4], rank_budget=5))
    assert "wait" not in str(refused.value)
    assert refused.value.exit_code == 3
