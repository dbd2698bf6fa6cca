"""What changed between two plans, held against plans changed by hand."""

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from rich.console import Console

from profiler.schema import InputError, write
from solver.cli.diff import diff as command
from solver.diff import Kind, plan_diff
from solver.plan import Configuration, Plan, PlannedDevice
from solver.planner import solve
from solver.problem import Problem
from solver.show.diff import diff_view
from tests.solver.instances import random_fleet


@pytest.fixture(scope="module")
def plan() -> Plan:
    fleet = random_fleet(3, devices=8, layers=4)
    made = solve(Problem.of(fleet, ranks=[2, 4]))
    # All alike, so that what is changed by hand is all that there is.
    shape = Configuration(depth=2, ranks=[0, 0, 4, 2])
    devices = [replace(d, configuration=0, local_steps=5) for d in made.devices]
    return replace(made, configurations=[shape], devices=devices)


def otherwise(plan: Plan, device: PlannedDevice, kind: Kind) -> tuple[PlannedDevice, ...]:
    """The device as it would stand in a later plan."""
    shapes = {"deeper": 1, "shallower": 2, "ranks": 3}
    if kind in shapes:
        return (replace(device, configuration=shapes[kind]),)
    return {
        "new": (device, replace(device, name="another")),
        "gone": (),
        "leaves": (replace(device, configuration=None, predicted=None),),
        "local": (replace(device, local_steps=9),),
        "same": (device,),
    }[kind]


def test_each_device_is_told_what_became_of_it(plan: Plan) -> None:
    kinds: tuple[Kind, ...] = (
        "deeper", "shallower", "ranks", "new", "gone", "leaves", "local", "same"
    )  # fmt: skip
    shapes = [*plan.configurations]
    shapes += [
        Configuration(depth=len(ranks), ranks=[0] * (4 - len(ranks)) + ranks)
        for ranks in ([4, 4, 2], [2], [2, 2])
    ]
    later = [
        each
        for device, kind in zip(plan.devices, kinds, strict=True)
        for each in otherwise(plan, device, kind)
    ]
    asked = replace(plan.question, budgets=replace(plan.question.budgets, round_time_s=9.0))
    now = replace(plan, configurations=shapes, devices=later, question=asked)
    found = plan_diff(plan, now)
    seen = {d.name: d.kind for d in found.devices}
    expected = dict(zip((d.name for d in plan.devices), kinds, strict=True))
    expected[plan.devices[3].name] = "same"
    assert seen == {n: k for n, k in expected.items() if k != "same"} | {"another": "new"}
    assert [(c.field, c.then, c.now) for c in found.asked] == [
        ("question.budgets.round_time_s", None, 9.0)
    ]
    # The other way round all is the other way round.
    back = {d.name: d.kind for d in plan_diff(now, plan).devices}
    turned = {"deeper": "shallower", "shallower": "deeper", "new": "gone", "gone": "new"}
    turned |= {"leaves": "joins"}
    assert back == {name: turned.get(kind, kind) for name, kind in seen.items()}
    sums = sum(sum(c.kinds.values()) for c in found.classes)
    assert sums == sum(d.count for d in plan.devices) + 1


def test_of_devices_alike_the_difference_came_or_went(plan: Plan) -> None:
    first, *others = plan.devices
    more = replace(plan, devices=[replace(first, count=first.count + 3), *others])
    (came,) = plan_diff(plan, more).devices
    (went,) = plan_diff(more, plan).devices
    assert (came.kind, came.count, came.depth_then, came.depth_now) == ("new", 3, None, 2)
    assert (went.kind, went.count, went.depth_then, went.depth_now) == ("gone", 3, 2, None)


def test_plans_of_different_models_do_not_compare(plan: Plan) -> None:
    other = solve(Problem.of(random_fleet(3, devices=8, layers=3)))
    with pytest.raises(InputError, match="layers differ"):
        plan_diff(plan, other)


def test_a_narrow_terminal_cuts_no_name(plan: Plan) -> None:
    devices = [
        replace(d, device_class=f"board-of-some-make/{i % 2}")
        for i, d in enumerate(plan.devices)
    ]
    then = replace(plan, devices=devices)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(diff_view(plan_diff(then, then), console.width))
    shown = console.export_text()
    assert "board-of-some-make/1" in shown
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown
    assert "a wider terminal" in shown


def test_the_command_shows_it(plan: Plan, tmp_path: Path) -> None:
    first, *others = plan.devices
    write(tmp_path / "then.json", plan)
    write(tmp_path / "now.json", replace(plan, ranks=[0, 0, 4, 3], devices=others))
    paths = [str(tmp_path / name) for name in ("then.json", "now.json")]
    shown = CliRunner().invoke(command, paths)
    assert shown.exit_code == 0, shown.output
    assert "layer 4: " in shown.output
    assert "gone: only in the plan then" in shown.output
    report = json.loads(CliRunner().invoke(command, [*paths, "--json"]).stdout)
    assert [(d["name"], d["kind"]) for d in report["devices"]] == [(first.name, "gone")]
    assert report["ranks_now"] == [0, 0, 4, 3]
