"""What devices lack for one layer more: just as much as the checker's own costs say."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from profiler.schema import Fleet, InputError, write
from solver.check import binding as check_binding
from solver.check.costs import recompute
from solver.next_layer import NextLayer, next_layers
from solver.plan import Configuration, Plan, PredictedDevice
from solver.planner import solve
from solver.problem import Problem
from tests.solver.instances import random_fleet
from tests.solver.linked import with_links
from tests.solver.mixed import made

CASE = check_binding._Case  # noqa: SLF001


def expected_shape(plan: Plan, lack: NextLayer) -> Configuration:
    """The device's configuration with a layer more, by the checker's rules."""
    device = next(d for d in plan.devices if d.name == lack.device)
    shape = plan.configuration_of(device)
    if shape is None and plan.question.policy == "exact":
        before = max(plan.question.min_depth, 1) - 1
        assert before == 0, "tests ask for one layer at least"
        shape = Configuration(depth=0, ranks=[0] * plan.model.layers)
    return check_binding._one_more(plan, shape)  # noqa: SLF001


def more(need: float, limit: float | None) -> float:
    return max(0.0, need - limit) if limit is not None else 0.0


def compare(plan: Plan, fleet: Fleet, lack: NextLayer) -> set[str]:
    """Hold one answer against the checker's costs; what it lacks."""
    case = CASE.of(plan, fleet, recompute(plan, fleet))
    device = case.devices[lack.device]
    shape = expected_shape(plan, lack)
    assert (lack.depth, lack.rank) == (shape.depth, shape.ranks[-shape.depth])
    need, budgets = case.cost(device, shape), plan.question.budgets
    found = {
        "memory_bytes": more(need.memory_bytes, device.memory_bytes or None),
        "upload_bytes": more(need.upload_bytes, budgets.upload_bytes),
        "download_bytes": more(need.download_bytes, budgets.download_bytes),
        "energy_j": more(need.energy_j, budgets.energy_j),
        "max_depth": more(shape.depth, plan.question.max_depth),
        "round_time_s": more(need.time_s, case.longest_s),
    }
    if lack.device in case.truth.devices:
        links = check_binding._busy_after_s(case, device, need)  # noqa: SLF001
        over_s = [more(s, case.longest_s) for s in links.values()]
        found["round_time_s"] = max([found["round_time_s"], *over_s])
        _, waits = check_binding._wait(case, device, need)  # noqa: SLF001
        if plan.question.fill_wait == 1 and budgets.mean_wait_s is not None:
            assert (lack.mean_wait_s > 1e-9) == waits
    for name, value in found.items():
        assert getattr(lack, name) == pytest.approx(value, rel=1e-6, abs=1e-6), name
    check_uplink(case, lack, need)
    return {name for name, value in found.items() if value > 1e-6}


def check_uplink(case: Any, lack: NextLayer, need: PredictedDevice) -> None:
    """A faster uplink ends the round just in time; without one, none would."""
    if lack.round_time_s == 0:
        assert lack.uplink_bytes_per_s == 0
        return
    rest_s = need.time_s - need.upload_s
    if lack.uplink_bytes_per_s is None:
        on_link = case.devices[lack.device].link
        assert on_link or rest_s >= case.longest_s * (1 - 1e-9)
        return
    speed = case.devices[lack.device].uplink_bytes_per_s + lack.uplink_bytes_per_s
    assert rest_s + need.upload_bytes / speed == pytest.approx(case.longest_s)


def test_of_any_question_it_is_what_the_checker_says() -> None:
    seen, structures = set[str](), set[str]()
    for seed in range(90):
        found = made(seed)
        if found is None or found[1].question.min_depth > 1:
            continue
        fleet, plan = found
        lacks = next_layers(plan, fleet)
        shallow = [
            d.name
            for d in plan.devices
            if (s := plan.configuration_of(d)) is None or s.depth < plan.model.layers
        ]
        assert [each.device for each in lacks] == shallow
        for lack in lacks:
            seen |= compare(plan, fleet, lack)
            structures.add(plan.question.structure)
    assert seen >= {"memory_bytes", "energy_j", "max_depth", "round_time_s"}
    assert structures == {"shared", "capped", "own"}


def test_with_what_it_lacks_the_solver_goes_deeper() -> None:
    fleet = random_fleet(5, layers=4, devices=1, max_rank=1)
    plan = solve(Problem.of(fleet, ranks=[1], round_time_s=4.0))
    (lack,) = next_layers(plan, fleet)
    assert lack.round_time_s > 0
    device = fleet.devices[0]

    def depth(share: float) -> int:
        roomy = replace(
            device, memory_bytes=round(device.memory_bytes + share * lack.memory_bytes + share)
        )
        problem = Problem.of(
            replace(fleet, devices=[roomy]),
            ranks=[1],
            round_time_s=4.0 + share * lack.round_time_s,
        )
        return solve(problem).configurations[0].depth

    assert (depth(0.999), depth(1.0)) == (lack.depth - 1, lack.depth)


def test_who_is_left_out_is_told_what_the_least_takes() -> None:
    fleet = random_fleet(2, layers=3, devices=5, max_rank=4)
    least_s = _least_s(fleet)
    limit_s = sorted(least_s.values())[2]
    plan = solve(Problem.of(fleet, ranks=[1], round_time_s=limit_s * 1.001, leave_out="unable"))
    lacks = {e.device: e for e in next_layers(plan, fleet)}
    out = [d.name for d in plan.devices if d.configuration is None]
    assert out
    for name in out:
        assert lacks[name].depth == 1
        expected = least_s[name] - limit_s * 1.001
        assert lacks[name].round_time_s == pytest.approx(expected)


def _least_s(fleet: Fleet) -> dict[str, float]:
    """What one layer of rank 1 takes each device."""
    plan = solve(Problem.of(fleet, ranks=[1], max_depth=1))
    return {d.name: d.predicted.time_s for d in plan.devices if d.predicted}


def test_the_command_says_it_to_people_and_programs(run: Any, tmp_path: Path) -> None:
    fleet, path = with_links(random_fleet(2, layers=3, devices=5), 2), tmp_path / "fleet.json"
    write(path, fleet)
    asked = ("solve", path, "--ranks", "1-4", "--leave-out", "unable", "--round-time", 8)
    code, out, _ = run(*asked, "--next-layer", "--json")
    assert code == 0
    told = json.loads(out)
    assert told["next_layer"]
    assert "prices" not in told
    plan = json.loads(run(*asked, "--json")[1])
    assert told["plan"]["devices"] == plan["devices"]
    code, out, _ = run(*asked, "--next-layer")
    assert (code, "lacks for it" in out, "of round time" in out) == (0, True, True)
    for lack in told["next_layer"]:
        assert lack["device"] in out
    code, out, _ = run("solve", path, "--max-depth", 3, "--set", "all,memory_gb=0",
                       "--next-layer", "--prices")  # fmt: skip
    assert "every device adapts all layers" in out
    assert "prices: no budget is in force" in out


def test_a_plan_of_other_devices_is_refused() -> None:
    fleet = random_fleet(2, layers=3, devices=5)
    plan = solve(Problem.of(fleet, ranks=[1]))
    with pytest.raises(InputError, match="other devices"):
        next_layers(plan, random_fleet(2, layers=3, devices=4))
