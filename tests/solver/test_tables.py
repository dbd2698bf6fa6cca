"""A plan on a screen: nothing cut, nothing wider than the terminal, units that people use."""

import io
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console

from profiler.schema import Fleet, write
from solver.plan import Plan
from solver.planner import solve
from solver.problem import Problem
from solver.show.figures import plain
from solver.show.plans import plan_view
from tests.solver.instances import random_fleet

CLASS = "jetson-xavier-nx/10w-desktop"
METHOD = "auto: dynamic program, exact since costs per rank are in proportion to the sizes"


def fleet(devices: int = 14) -> Fleet:
    made = random_fleet(3, layers=12, devices=devices, max_rank=4)
    names = {"class-0": CLASS, "class-1": "phone[/x] :cat: [red]old"}
    return replace(
        made,
        classes=[replace(c, name=names[c.name]) for c in made.classes],
        devices=[
            replace(d, device_class=names[d.device_class], memory_bytes=0) for d in made.devices
        ],
    )


def plan(**options: Any) -> Plan:
    made = solve(Problem.of(fleet(), ranks=range(1, 5), round_time_s=40, **options))
    return replace(made, certificate=replace(made.certificate, method=METHOD))


def test_a_few_devices_are_shown_by_name_and_many_by_class() -> None:
    few = fleet(devices=3)
    names = ["van", "kiosk", "lab[/x] :cat: [red]old"]
    named = replace(
        few,
        devices=[replace(d, name=n) for d, n in zip(few.devices, names, strict=True)],
    )
    made = solve(Problem.of(named, ranks=range(1, 5)))
    for width in (60, 140):
        lines = shown(made, width)
        rows = [line for line in lines if line.strip()[:1].isdigit()]
        found = [next(i for i, row in enumerate(rows) if name[:5] in row) for name in names]
        assert found == sorted(found)
        assert any("device" in line for line in lines)
        assert CLASS not in "\n".join(lines)
    many = "\n".join(shown(plan(), 140))
    assert " class " in many
    assert CLASS in many
    assert fleet().devices[0].name not in many.split()


def shown(made: Plan, width: int) -> list[str]:
    out = io.StringIO()
    console = Console(width=width, file=out, markup=False, emoji=False)
    console.print(plan_view(made, width))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 140])
@pytest.mark.parametrize("structure", ["shared", "capped", "own"])
def test_nothing_is_cut_and_all_fits(width: int, structure: str) -> None:
    lines = shown(plan(structure=structure), width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "…" not in text
    together = "".join(text.split())
    assert METHOD.replace(" ", "") in together
    assert "proof" in text
    if width == 140:
        assert CLASS in text
        assert "phone[/x] :cat: [red]old" in text


def test_a_long_method_goes_on_below_itself() -> None:
    lines = shown(plan(), 60)
    start = next(i for i, line in enumerate(lines) if line.startswith("method"))
    column = lines[start].index("auto")
    assert lines[start + 1][:column].isspace()
    assert not lines[start + 1][column].isspace()


def test_where_the_grid_does_not_fit_shared_ranks_are_said_once() -> None:
    made = plan()
    narrow, wide = shown(made, 80), shown(made, 140)
    said = [line for line in narrow if line.startswith("ranks")]
    runs = said[0].removeprefix("ranks").partition(",")[0].split()
    ranks = [
        0 if rank == "·" else int(rank)
        for n, rank in (run.split("x") for run in runs)
        for _ in range(int(n))
    ]
    assert ranks == made.ranks
    assert not any(line.startswith("ranks") for line in wide)
    depths = {c.depth for c in made.configurations}
    assert len(depths) > 1
    rows = [line.split() for line in narrow if line.strip()[:1].isdigit()]
    assert len(rows) >= len(depths)


@pytest.mark.parametrize(
    ("energy_j", "said"),
    [(12.5, "energy 12.5 J"), (23_456.0, "energy 23.46 kJ"), (2.3e7, "energy 23 MJ")],
)
def test_energy_is_in_a_unit_people_use(energy_j: float, said: str) -> None:
    made = plan()
    made = replace(made, predicted=replace(made.predicted, energy_j=energy_j))
    assert said in "\n".join(shown(made, 140))
    budget = replace(made.question.budgets, energy_j=energy_j)
    asked = replace(made, question=replace(made.question, budgets=budget))
    assert "\n".join(shown(asked, 140)).count(said) == 2


def test_energy_of_some_is_not_said_to_be_that_of_all() -> None:
    made = plan()
    first, *others = made.devices
    assert first.predicted is not None
    unknown = replace(first, predicted=replace(first.predicted, energy_j=0.0))
    known, total = sum(d.count for d in others), sum(d.count for d in made.devices)
    text = "\n".join(shown(replace(made, devices=[unknown, *others]), 140))
    assert f" (draw of {known} of {total} devices known) in all" in text
    assert "known" not in "\n".join(shown(made, 140))


@pytest.mark.parametrize(
    ("objective", "options", "said"),
    [
        ("utility", {}, "optimal: utility "),
        ("time", {"min_utility": 0.1}, "optimal: round time "),
        ("legend", {}, "optimal: mean depth "),
        ("efficiency", {}, "gap reached: utility a second "),
    ],
)
def test_the_proof_says_of_what(objective: Any, options: Any, said: str) -> None:
    (proof,) = (
        line for line in shown(plan(objective=objective, **options), 140) if "proof" in line
    )
    assert said in proof
    assert "bound" in proof


def test_names_with_brackets_pass_every_command(run: Any, tmp_path: Any) -> None:
    path = tmp_path / "fleet.json"
    write(path, fleet())
    asked = ("--ranks", "1-4", "--round-time", 40)
    code, out, err = run("solve", path, *asked)
    assert (code, err) == (0, "")
    assert "phone[/x] :cat: [red]old" in out
    for command in ("compare", "frontier"):
        assert run(command, path, *asked)[0] == 0


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0"),
        (2e-7, "<0.001"),
        (0.0123456, "0.0123"),
        (12.345, "12.3"),
        (999.4, "999"),
        (999.6, "1000"),
        (3447.2, "3447"),
        (1.5e6, "1500000"),
    ],
)
def test_a_figure_has_no_power_of_ten(value: float, said: str) -> None:
    assert plain(value) == said


def test_long_rounds_are_seconds_in_every_table(run: Any, tmp_path: Any) -> None:
    path, slow = tmp_path / "fleet.json", ("--set", "all,time_scale=1000", "--ranks", "1-4")
    write(path, fleet())
    for command in ("solve", "compare", "frontier"):
        code, out, _ = run(command, path, *slow)
        assert code == 0
        assert "e+" not in out
