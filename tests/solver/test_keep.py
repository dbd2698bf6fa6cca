"""Plans that stay with an earlier one where that loses little, and say so."""

import math
from dataclasses import replace as dataclass_replace
from typing import Any

import msgspec
import pytest
from msgspec import UNSET
from msgspec.structs import replace

from profiler.schema import Fleet, InputError, changed
from solver.check import check
from solver.errors import Infeasible, Stopped
from solver.exact import maximise_utility
from solver.plan import Kept, Plan
from solver.planner import solve
from solver.problem import Problem
from tests.solver.instances import random_fleet
from tests.solver.mixed import mixed_case, values

ASKED: dict[str, Any] = {"ranks": [1, 2, 3, 4], "round_time_s": 12.0}


def fleet_of(seed: int = 2, **more: Any) -> Fleet:
    fleet = random_fleet(seed, layers=4, devices=6, max_rank=4, **more)
    return replace(fleet, devices=[replace(d, memory_bytes=0, count=1) for d in fleet.devices])


def record(plan: Plan) -> Kept:
    assert isinstance(plan.kept, Kept)
    return plan.kept


def slower(fleet: Fleet, factor: float) -> Fleet:
    return changed(fleet, [f"all,time_scale={factor}"])


def test_the_same_fleet_keeps_all_and_loses_nothing() -> None:
    fleet = fleet_of()
    before = solve(Problem.of(fleet, **ASKED))
    assert before.kept is UNSET
    assert b"kept" not in msgspec.json.encode(before)
    after = solve(Problem.of(fleet, **ASKED), keep=before, keep_within=0.0)
    assert (after.ranks, after.devices) == (before.ranks, before.devices)
    kept = record(after)
    assert (kept.decision, kept.loss_fraction) == ("kept", 0.0)
    assert (kept.same, kept.less, kept.added, kept.gone) == (6, 0, 0, 0)
    assert after.certificate.status == "optimal"
    assert check(after, fleet).ok


@pytest.mark.parametrize("structure", ["shared", "capped", "own"])
def test_the_loss_against_the_bound_decides(structure: Any) -> None:
    asked = {**ASKED, "structure": structure}
    found = set()
    for seed in range(2, 8):
        fleet = fleet_of(seed)
        try:
            before = solve(Problem.of(fleet, **asked))
            now = slower(fleet, 1.1)
            plain = solve(Problem.of(now, **asked))
        except Infeasible:
            continue
        loose = solve(Problem.of(now, **asked), keep=before, keep_within=1.0)
        assert check(loose, now).ok, check(loose, now).failed
        kept = record(loose)
        if kept.decision == "new":
            assert "cannot be kept" in kept.reason
            continue
        loss, certificate = kept.loss_fraction, loose.certificate
        assert loss is not None
        assert certificate.bound == pytest.approx(plain.certificate.bound or 0.0, rel=1e-12)
        share = certificate.value / (certificate.bound or 1.0)
        assert loss == pytest.approx(1 - share, abs=1e-12)
        then = {d.name: before.configuration_of(d) for d in before.devices}
        for device in loose.devices:
            shape, was = loose.configuration_of(device), then[device.name]
            assert shape is not None
            assert was is not None
            assert shape.depth <= was.depth
            if structure == "shared":
                assert shape.ranks[-shape.depth :] == was.ranks[-shape.depth :]
        if loss > 1e-6:
            for within, decision in ((loss * 1.001, "kept"), (loss * 0.999, "new")):
                again = solve(Problem.of(now, **asked), keep=before, keep_within=within)
                assert record(again).decision == decision
                assert check(again, now).ok
                if decision == "new":
                    assert (again.devices, again.ranks) == (plain.devices, plain.ranks)
                    assert again.certificate == plain.certificate
                found.add(decision)
            assert "more than the" in record(again).reason
    assert found == {"kept", "new"}


def test_devices_that_come_and_go() -> None:
    fleet = fleet_of()
    before = solve(Problem.of(fleet, **ASKED))
    # One is gone, one is renamed and so new, one has become slow.
    first, second, third, fourth, *others = fleet.devices
    slow = replace(fourth, time_scale=1.15)
    devices = [replace(second, name="new"), third, slow, *others]
    now = replace(fleet, devices=devices)
    after = solve(Problem.of(now, **ASKED), keep=before, keep_within=1.0)
    kept = record(after)
    assert check(after, now).ok
    assert (kept.decision, kept.added, kept.gone) == ("kept", 1, 2)
    assert kept.same + kept.less == 4
    assert kept.less >= 1
    assert first.name not in {d.name for d in after.devices}
    # The new one is as deep as it was under another name: the ranks are the same.
    depths = {d.name: after.configuration_of(d) for d in after.devices}
    old = {d.name: before.configuration_of(d) for d in before.devices}
    assert depths["new"] == old[second.name]
    assert after.ranks[-1] == before.ranks[-1]


@pytest.mark.parametrize("structure", ["capped", "own"])
def test_new_devices_take_the_best_of_the_ranks_that_they_can(structure: Any) -> None:
    asked = {**ASKED, "structure": structure}
    fleet = fleet_of()
    before = solve(Problem.of(fleet, **asked))
    slow = replace(fleet.devices[0], name="new", time_scale=1.05)
    now = replace(fleet, devices=[*fleet.devices, slow])
    after = solve(Problem.of(now, **asked), keep=before, keep_within=1.0)
    assert (record(after).decision, record(after).added) == ("kept", 1)
    assert check(after, now).ok, check(after, now).failed


def test_what_cannot_be_kept_is_planned_anew_and_says_why() -> None:
    fleet = fleet_of()
    before = solve(Problem.of(fleet, **{**ASKED, "ranks": [4]}))
    lowest = before.devices[0].predicted
    assert lowest is not None
    least = solve(Problem.of(fleet, ranks=[1], max_depth=1)).devices[0].predicted
    most = solve(Problem.of(fleet, ranks=[4], max_depth=1)).devices[0].predicted
    assert least is not None
    assert most is not None
    limit = (least.upload_bytes + most.upload_bytes) / 2
    now = changed(fleet, [f"device=d0,upload_mb={limit / 1e6}"])
    after = solve(Problem.of(now, **ASKED), keep=before, keep_within=1.0)
    kept = record(after)
    assert (kept.decision, kept.loss_fraction) == ("new", None)
    assert kept.reason.startswith("cannot be kept: d0 needs ")
    assert "of own upload" in kept.reason
    assert check(after, now).ok

    def reason(earlier: Plan = before, **asked: Any) -> str:
        plan = solve(Problem.of(fleet, **{**ASKED, **asked}), keep=earlier, keep_within=1.0)
        assert record(plan).decision == "new"
        return record(plan).reason

    assert "rank 4 is none of the question's choices" in reason(ranks=[1, 2])
    total = sum(before.ranks)
    assert f"the ranks sum to {total} and the rank budget is 3" in reason(rank_budget=3)
    free = solve(Problem.of(fleet, **{**ASKED, "structure": "own"}))
    if any(c.ranks[-1] != free.ranks[-1] for c in free.configurations):
        assert "ranks differ by device" in reason(free)
    # No plan at all is no plan to stay with either.
    with pytest.raises(Infeasible):
        solve(Problem.of(fleet, ranks=[1], round_time_s=0.01), keep=before, keep_within=1.0)


def test_whoever_is_unable_is_left_out_as_in_a_new_plan() -> None:
    fleet = fleet_of()
    asked = {**ASKED, "leave_out": "unable"}
    before = solve(Problem.of(fleet, **asked))
    now = changed(fleet, ["device=d1,time_s=0"])
    after = solve(Problem.of(now, **asked), keep=before, keep_within=1.0)
    kept = record(after)
    assert (kept.decision, kept.same, kept.gone) == ("kept", 5, 1)
    assert after.devices[1].configuration is None
    assert check(after, now).ok
    # Back again, it is new.
    back = solve(Problem.of(fleet, **asked), keep=after, keep_within=1.0)
    assert (record(back).same, record(back).added) == (5, 1)


def test_kept_plans_are_sound_whatever_is_asked() -> None:
    """Against exhaustive search: what is kept is a plan of the question, and bounds hold."""
    decisions: dict[str, int] = {}
    for seed in range(150):
        fleet, options = mixed_case(seed)
        try:
            before = solve(Problem.of(fleet, **options))
            now = slower(fleet, 1.0 + 0.05 * (seed % 4))
            if seed % 3 == 0:
                first, *others = now.devices
                now = replace(now, devices=[replace(first, name="x"), *others])
            problem = Problem.of(now, **options)
            after = solve(problem, keep=before, keep_within=[0.01, 0.3, 1.0][seed % 3])
        except (Infeasible, Stopped, InputError):
            continue
        assert check(after, now).ok, (seed, check(after, now).failed)
        decision = record(after).decision
        decisions[decision] = decisions.get(decision, 0) + 1
        best = max(values(now, problem.question))
        sign = -1 if problem.question.objective == "time" else 1
        certificate, slack = after.certificate, 1e-8 * max(1.0, abs(best))
        assert certificate.bound is not None
        assert sign * certificate.bound >= best - slack, seed
        assert sign * certificate.value <= best + slack, seed
    assert decisions["kept"] >= 25, decisions
    assert decisions["new"] >= 5, decisions


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"keep_within": 0.1}, "keep and keep_within go together; expected keep, an earlier"),
        ({"keep": "plan.json", "keep_within": 0.1}, "keep is 'plan.json'; expected a Plan"),
        ({"keep": "plan", "keep_within": 1.5}, "keep_within is 1.5; expected a share of the"),
        ({"keep": "plan", "keep_within": -0.1}, "keep_within is -0.1; expected a share"),
        ({"keep": "plan", "keep_within": math.nan}, "keep_within is nan; expected a share"),
        ({"keep": "plan", "keep_within": "1"}, "keep_within is '1'; expected a share"),
        ({"keep": "plan", "keep_within": True}, "keep_within is True; expected a share"),
    ],
)
def test_bad_arguments_are_refused_in_a_line(given: dict[str, Any], words: str) -> None:
    problem = Problem.of(fleet_of(), **ASKED)
    with pytest.raises(InputError) as error:
        solve(problem, **given)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_other_models_and_policies_are_refused() -> None:
    fleet = fleet_of()
    before = solve(Problem.of(fleet, **ASKED))
    with pytest.raises(InputError, match="go together; expected keep_within"):
        solve(Problem.of(fleet, **ASKED), keep=before)
    other = random_fleet(2, layers=5, devices=6)
    with pytest.raises(InputError, match=r"of model tiny, the fleet of tiny \(layers"):
        solve(Problem.of(other, **ASKED), keep=before, keep_within=0.1)
    with pytest.raises(InputError, match="policy 'legend' plans in its own way"):
        solve(Problem.of(fleet, **ASKED, policy="legend"), keep=before, keep_within=0.1)


def test_the_checker_finds_a_false_word_about_the_earlier_plan() -> None:
    fleet = fleet_of()
    before = solve(Problem.of(fleet, **ASKED))
    now = slower(fleet, 1.08)
    plan = solve(Problem.of(now, **ASKED), keep=before, keep_within=1.0)
    kept = record(plan)
    assert kept.loss_fraction
    for field, value, name in (
        ("loss_fraction", kept.loss_fraction / 2, "kept.loss_fraction"),
        ("loss_fraction", None, "kept.loss_fraction"),
        ("within_fraction", kept.loss_fraction / 2, "kept.decision"),
        ("decision", "new", "kept.decision"),
        ("decision", "best", "kept.decision"),
        ("same", kept.same + 1, "kept.devices"),
    ):
        false = replace(plan, kept=replace(kept, **{field: value}))
        assert name in {c.name for c in check(false, now).failed}, field


def test_a_loss_that_is_rounding_is_none_to_the_checker_too() -> None:
    fleet = fleet_of()
    problem = Problem.of(fleet, **ASKED)
    before, found = solve(problem), maximise_utility(problem)
    near = dataclass_replace(found, bound=found.value * (1 + 5e-10))
    after = solve(problem, using=lambda _: near, keep=before, keep_within=0.0)
    assert record(after).decision == "kept"
    assert record(after).loss_fraction
    assert check(after, fleet).ok, check(after, fleet).failed
