"""Limits of devices' own: the checker by hand, what is said of them, frames."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from msgspec import UNSET
from msgspec.structs import replace

from profiler.schema import LIMITS, Fleet, InputError, changed
from solver.allocation import shared
from solver.check import check
from solver.errors import FleetError, Infeasible
from solver.explain.repair import repairs
from solver.next_layer import next_layers
from solver.planner import solve
from solver.prices import prices
from solver.problem import Problem
from tests.solver.fleets import hand_plan, planned_fleet
from tests.solver.instances import random_fleet
from tests.solver.test_own_limits import set_device

# Own figures of the hand-made plan's devices `a` and `b`, see `tests.solver.fleets`.
FIGURES = {
    "upload_limit_bytes": ("own upload", 328.0, 648.0),
    "download_limit_bytes": ("own download", 328.0, 648.0),
    "energy_limit_j": ("own energy", 60.156, 25.546),
    "time_limit_s": ("own time", 6.692, 3.647),
}


# The checker, by hand.
@pytest.mark.parametrize("field", LIMITS)
@pytest.mark.parametrize("of_class", [False, True])
def test_the_checker_finds_every_limit_that_is_passed(field: str, of_class: bool) -> None:
    _, slow, fast = FIGURES[field]

    def failed(limits: dict[str, float], own: dict[str, float] | None = None) -> set[str]:
        fleet = planned_fleet()
        if of_class:
            names = {"a": "slow", "b": "fast"}
            classes = [
                replace(c, **{field: v}) if names[n] == c.name else c
                for n, v in limits.items()
                for c in fleet.classes
                if names[n] == c.name or len(limits) == 1
            ]
            fleet = replace(fleet, classes=classes)
        else:
            for name, limit in limits.items():
                at = [d.name for d in fleet.devices].index(name)
                fleet = set_device(fleet, at, **{field: limit})
        for name, limit in (own or {}).items():
            at = [d.name for d in fleet.devices].index(name)
            fleet = set_device(fleet, at, **{field: limit})
        return {c.name for c in check(hand_plan(), fleet).failed}

    assert failed({"a": slow, "b": fast}) == set()
    assert failed({"a": slow * (1 - 1e-6), "b": fast}) == {f"devices.{field}"}
    assert failed({"b": 0.0}) == {f"devices.{field}"}
    # Who takes no part spends nothing; a device's own limit goes before its class's.
    assert failed({"a": slow * 0.5}, {"a": slow}) == set()
    assert failed({"a": slow}, {"a": slow * 0.5}) == {f"devices.{field}"}


def test_the_checker_says_who_is_furthest_over() -> None:
    fleet = set_device(planned_fleet(), 0, time_limit_s=6.0)
    fleet = set_device(fleet, 1, time_limit_s=3.0)
    (found,) = check(hand_plan(), fleet).failed
    assert found.seen == pytest.approx(3.647)
    assert found.expected == 3.0
    assert found.detail == "2 devices over their own limit, most of all 'b'"
    checks = check(hand_plan(), planned_fleet()).checks
    assert "devices.time_limit_s" not in {c.name for c in checks}


@pytest.mark.parametrize("field", LIMITS)
def test_the_checker_knows_what_binds(field: str) -> None:
    name, figure, _ = FIGURES[field]
    fleet = set_device(planned_fleet(), 0, **{field: figure * 1.000001})
    plan = hand_plan()
    told = [replace(plan.devices[0], binding=name), *plan.devices[1:]]
    true = replace(plan, devices=told)
    assert "devices.binding" not in {c.name for c in check(true, fleet).failed}
    assert "devices.binding" in {c.name for c in check(true, planned_fleet()).failed}


# What is said of them.
def problem_with(field: str, share: float) -> tuple[Fleet, Problem]:
    """One device whose limit is a share of what the least configuration takes."""
    fleet = random_fleet(3, layers=4, devices=4, max_rank=4)
    fleet = replace(fleet, devices=[replace(d, memory_bytes=0) for d in fleet.devices])
    least = solve(Problem.of(fleet, ranks=[1], max_depth=1)).devices[1].predicted
    assert least is not None
    figure = {
        "upload_limit_bytes": least.upload_bytes,
        "download_limit_bytes": least.download_bytes,
        "energy_limit_j": least.energy_j,
        "time_limit_s": least.time_s,
    }[field]
    made = set_device(fleet, 1, **{field: share * figure})
    return made, Problem.of(made, ranks=[1, 2, 3, 4], round_time_s=400.0)


@pytest.mark.parametrize("field", LIMITS)
def test_a_limit_too_tight_names_the_device_its_limit_and_the_repair(field: str) -> None:
    _, problem = problem_with(field, 0.5)
    with pytest.raises(Infeasible) as found:
        solve(problem)
    name = FIGURES[field][0]
    (short,) = found.value.shortfalls
    assert (short.device, short.constraint) == ("d1", name)
    assert short.need == pytest.approx(2 * short.limit)
    assert "d1 needs" in str(found.value)
    assert f"No round time helps: raise the limit on {name}" in str(found.value)
    own = next(each for each in repairs(problem) if each.text.startswith(f"{name} of d1 of "))
    mended = solve(own.problem)
    assert mended.devices[1].binding == name
    limit = getattr(own.problem.costs.devices, field)[1]
    assert limit == pytest.approx(short.need, rel=1e-3)
    assert limit >= short.need * (1 - 1e-9)


@pytest.mark.parametrize("field", LIMITS)
def test_what_a_device_lacks_for_a_layer_is_enough_and_no_less_is(field: str) -> None:
    fleet, problem = problem_with(field, 1.02)
    plan = solve(problem)
    assert plan.devices[1].binding == FIGURES[field][0]
    (lacks,) = [each for each in next_layers(plan, fleet) if each.device == "d1"]
    own = "own_time_s" if field == "time_limit_s" else field.replace("_limit", "")
    more = getattr(lacks, own)
    assert more > 0
    assert lacks.round_time_s == 0
    ranks = [plan.ranks[-k] for k in range(1, lacks.depth + 1)]
    row = np.array([*ranks, *[1] * (problem.layers - lacks.depth)])
    row[row == 0] = problem.ranks[0]
    had = getattr(fleet.devices[1], field)
    for factor, depth in ((1 + 1e-6, lacks.depth), (1 - 1e-3, lacks.depth - 1)):
        looser = set_device(fleet, 1, **{field: had + factor * more})
        posed = Problem.of(looser, ranks=[1, 2, 3, 4], round_time_s=400.0)
        assert shared(posed, row).depth[1] == depth


def test_prices_say_what_more_of_a_limit_buys() -> None:
    _, problem = problem_with("time_limit_s", 1.02)
    found = {each.budget: each for each in prices(problem)}
    assert found["second of own time"].utility > 0
    assert found["second of round time"].utility == 0
    assert "MB of own upload" not in found


def test_waits_are_filled_within_own_time_and_energy() -> None:
    fleet = random_fleet(3, layers=3, devices=4, max_rank=3)
    fleet = replace(fleet, devices=[replace(d, memory_bytes=0) for d in fleet.devices])
    question: dict[str, Any] = {"ranks": [1, 2], "round_time_s": 60.0, "fill_wait": 20.0}
    free = solve(Problem.of(fleet, **question))
    for field, figure in (("time_limit_s", "time_s"), ("energy_limit_j", "energy_j")):
        longest = max(range(4), key=lambda i: free.devices[i].local_steps)
        plain = solve(Problem.of(fleet, **{**question, "fill_wait": 1.0}))
        needs = [plain.devices[longest].predicted, free.devices[longest].predicted]
        assert needs[0] is not None
        assert needs[1] is not None
        low, high = getattr(needs[0], figure), getattr(needs[1], figure)
        limited = set_device(fleet, longest, **{field: (low + high) / 2})
        plan = solve(Problem.of(limited, **question))
        assert check(plan, limited).ok, check(plan, limited).failed
        steps = plan.devices[longest].local_steps
        assert limited.devices[longest].local_steps < steps < free.devices[longest].local_steps


def test_energy_of_a_device_needs_to_know_what_it_draws() -> None:
    fleet = random_fleet(3, layers=3, devices=4, max_rank=3)
    dark = changed(fleet, ["class=class-1,power_w=0"])
    bright = changed(dark, ["device=d0,energy_j=1e9"])
    assert check(solve(Problem.of(bright, ranks=[1], round_time_s=99)), bright).ok
    with pytest.raises(FleetError, match="limit on energy of device 'd1' cannot be kept; give"):
        Problem.of(changed(dark, ["device=d1,energy_j=1e9"]), ranks=[1])


def test_a_frame_gives_devices_their_limits() -> None:
    fleet = random_fleet(1)
    problem = Problem.of(fleet, ranks=[1, 2, 4], round_time_s=20.0)
    frame = pd.DataFrame(
        {"upload_mb": [0.001, None], "time_s": [None, 15.0]}, index=["d0", "d1"]
    )
    limited = problem.with_limits(frame)
    first, second, *others = limited.fleet.devices
    assert (first.upload_limit_bytes, first.time_limit_s) == (1000.0, UNSET)
    assert (second.upload_limit_bytes, second.time_limit_s) == (UNSET, 15.0)
    assert others == fleet.devices[2:]
    plan = solve(limited)
    assert check(plan, limited.fleet).ok
    assert plan == solve(Problem.of(limited.fleet, ranks=[1, 2, 4], round_time_s=20.0))
    named = problem.with_limits(frame.rename_axis("name").reset_index())
    assert named.fleet == limited.fleet
    again = limited.with_limits({"d0": {"upload_mb": 5}})
    assert again.fleet.devices[0].upload_limit_bytes == 5e6


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (pd.DataFrame({"up": [1]}, index=["d0"]), "a column 'up'; expected one or more of"),
        (pd.DataFrame({"time_s": [1, 2]}, index=["d0", "d0"]), "'d0' twice; expected one row"),
        ({"dx": {"time_s": 1}}, "device 'dx', which is not in the fleet; expected a device's"),
        ({"d0": {"time_s": -1}}, "'d0': time_s is -1; expected 0 or more and finite"),
        ({"d0": {"time_s": math.inf}}, "'d0': time_s is inf; expected 0 or more"),
        ({"d0": {"time_s": "5"}}, "'d0': time_s is '5'; expected 0 or more"),
        ({"d0": {"time_s": True}}, "'d0': time_s is True; expected 0 or more"),
        ({"d0": 5}, "limits are {'d0': 5}; expected a frame, or a mapping by device"),
        (7, "limits are 7; expected a frame, or a mapping by device"),
    ],
)
def test_a_bad_table_of_limits_is_refused_in_a_line(limits: Any, words: str) -> None:
    problem = Problem.of(random_fleet(1), ranks=[1, 2, 4])
    with pytest.raises(InputError) as error:
        problem.with_limits(limits)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
