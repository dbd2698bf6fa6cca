"""Frontier and policies on the page: from files, or asked of the solver's own commands."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from finetune.cli.report import report
from finetune.report.answer_tables import policy_table
from finetune.report.answers import FrontierPoint, decode_policies
from finetune.report.ask import ask_frontier, mismatch
from finetune.report.page import render
from finetune.report.pictures import Sources
from finetune.report.tables import class_table, link_table
from finetune.report.words import seconds_alike, time_unit
from frontdoor import cli
from profiler.schema import write
from solver.plan import InputError, PredictedLink, read_plan
from tests.finetune.plans import plan_to_show
from tests.finetune.report.answers import FRONTIER, POLICIES, write_answers
from tests.finetune.report.pages import HOSTILE, Page, run_folder
from tests.solver.instances import random_fleet


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "plan.json", plan_to_show())
    return tmp_path


def call(*arguments: str) -> None:
    done = CliRunner().invoke(report, ["plan.json", *arguments])
    if done.exception is not None:
        raise done.exception


def test_times_of_a_column_are_in_one_unit() -> None:
    assert seconds_alike([590.0, 660.0]) == ["590 s", "660 s"]
    assert seconds_alike([900.0, 12000.0]) == ["15.0 min", "200 min"]
    assert seconds_alike([300000.0]) == ["3.47 d"]
    assert seconds_alike([]) == []


@pytest.mark.parametrize(
    ("longest_s", "name", "symbol"),
    [(0, "seconds", "s"), (700, "minutes", "min"), (11e3, "hours", "h"), (3e5, "days", "d")],
)
def test_both_names_of_a_unit_suit_an_axis(longest_s: float, name: str, symbol: str) -> None:
    unit = time_unit(longest_s)
    assert (unit.name, unit.symbol) == (name, symbol)


def test_files_become_pictures_with_their_tables(folder: Path) -> None:
    write_answers(folder)
    run_folder(folder / "run", [0.5, 0.6])
    call("run", "--frontier", "frontier.json", "--compare", "compare.json", "-o", "r.html")
    page = Page((folder / "r.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert page.count("svg") == 7
    assert page.count("caption") == page.count("table")
    for words in ("Other round times", "Policies side by side", "(this plan)", "no plan"):
        assert words in page.words


def test_every_picture_is_written_twice_and_always_the_same(folder: Path) -> None:
    write_answers(folder)
    options = ["--frontier", "frontier.json", "--compare", "compare.json"]
    call(*options, "--pictures", "a")
    call("--frontier", "frontier.json", "--pictures", "b")
    names = sorted(path.name for path in (folder / "a").iterdir())
    stems = ["frontier", "frontier-depth", "plan", "policies", "ranks", "round"]
    assert names == sorted(f"{s}.{e}" for s in stems for e in ("svg", "png"))
    for path in (folder / "b").iterdir():
        assert (folder / "a" / path.name).read_bytes() == path.read_bytes()


def test_the_fleet_is_asked_the_question_of_the_plan(folder: Path) -> None:
    write(folder / "fleet.json", random_fleet(3, devices=6))
    options = ["--ranks", "2,4", "--upload-mb", "50", "--weights", "equal"]
    # Without the codec this budget allows less.
    options += ["--download-mb", "0.001", "--download-codec", "float16"]
    solved = CliRunner().invoke(cli, ["solve", "fleet.json", *options, "-o", "plan.json"])
    assert solved.exit_code == 0
    call("--fleet", "fleet.json", "-o", "r.html")
    page = Page((folder / "r.html").read_text(encoding="utf-8"))
    assert "not the very one" not in page.words
    best = json.loads((folder / "plan.json").read_bytes())["predicted"]["utility"]
    # No round time was asked for, so the curve ends where the plan is.
    table = page.words[page.words.index("Best plan within each round time") :]
    assert f"{best:.5f}" in table
    assert "hetlora" in page.words


def test_the_curve_is_of_the_structure_that_was_asked_for(folder: Path) -> None:
    write(folder / "fleet.json", random_fleet(3, devices=6))
    utility = {}
    for structure in ("shared", "own"):
        command = ["solve", "fleet.json", "--ranks", "1-4", "--structure", structure]
        assert CliRunner().invoke(cli, [*command, "-o", "plan.json"]).exit_code == 0
        utility[structure] = read_plan(folder / "plan.json").predicted.utility
    assert utility["own"] > utility["shared"]
    best = ask_frontier(read_plan(folder / "plan.json"), folder / "fleet.json")[-1]
    assert best.utility == pytest.approx(utility["own"])


def test_the_curve_weighs_caches_against_the_rounds_that_were_asked_for(folder: Path) -> None:
    fleet = random_fleet(0, devices=6)
    roomy = [replace(device, storage_bytes=10**9) for device in fleet.devices]
    write(folder / "fleet.json", replace(fleet, devices=roomy))
    command = ["solve", "fleet.json", "--ranks", "2,4", "--cache", "auto"]
    command += ["--cache-rounds", "1", "-o", "plan.json"]
    assert CliRunner().invoke(cli, command).exit_code == 0
    plan = read_plan(folder / "plan.json")
    best = ask_frontier(plan, folder / "fleet.json")[-1]
    assert best.round_time_s == pytest.approx(plan.predicted.round_time_s)


def test_a_plan_that_leaves_devices_out_has_a_curve_without_them(folder: Path) -> None:
    fleet = random_fleet(3, devices=6)
    first = replace(fleet.devices[0], memory_bytes=1)
    write(folder / "fleet.json", replace(fleet, devices=[first, *fleet.devices[1:]]))
    options = ["--ranks", "2,4", "--leave-out", "unable", "-o", "plan.json"]
    assert CliRunner().invoke(cli, ["solve", "fleet.json", *options]).exit_code == 0
    call("--fleet", "fleet.json", "-o", "r.html")
    page = Page((folder / "r.html").read_text(encoding="utf-8"))
    best = json.loads((folder / "plan.json").read_bytes())["predicted"]["utility"]
    table = page.words[page.words.index("Best plan within each round time") :]
    assert f"{best:.5f}" in table
    assert "There is no frontier" not in page.words


def test_a_policy_that_leaves_devices_out_still_has_a_page(folder: Path) -> None:
    fleet = random_fleet(3, devices=6)
    first = replace(fleet.devices[0], memory_bytes=1)
    write(folder / "fleet.json", replace(fleet, devices=[first, *fleet.devices[1:]]))
    options = ["--ranks", "2,4", "--policy", "fedlora-exclusive", "-o", "plan.json"]
    assert CliRunner().invoke(cli, ["solve", "fleet.json", *options]).exit_code == 0
    call("--fleet", "fleet.json", "-o", "r.html")
    page = Page((folder / "r.html").read_text(encoding="utf-8"))
    assert "There is no frontier of everybody: infeasible" in page.words
    assert "Policies side by side" in page.words


def test_a_fleet_of_another_model_has_no_curves_of_this_plan(folder: Path) -> None:
    other = random_fleet(3, devices=6, layers=plan_to_show().model.layers + 1)
    write(folder / "fleet.json", other)
    with pytest.raises(InputError, match=r"the plan is for .* give the fleet it was"):
        call("--fleet", "fleet.json", "-o", "r.html")
    assert not (folder / "r.html").exists()


def test_curves_of_another_question_say_so() -> None:
    plan, fleet = plan_to_show(), random_fleet(3)
    assert "not the very one" in mismatch(plan, fleet, "0" * 64)
    made = replace(plan.provenance, inputs=[], options={"set": "class=a,memory_gb=4"})
    what_if = replace(plan, provenance=made)
    assert mismatch(what_if, fleet, "0" * 64)
    # Of the fleet with that change there is nothing to say.
    assert not mismatch(what_if, replace(fleet, provenance=made), "0" * 64)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected what 'legend compare --json' prints"),
        ("[]", "empty list"),
        ("{}", "expected what"),
        (json.dumps(FRONTIER), "missing required field"),
        (json.dumps(POLICIES).replace("20000000.0", "-1"), "upload_bytes is -1"),
        (json.dumps(POLICIES).replace("20000000.0", "1e999"), "expected"),
    ],
)
def test_broken_answers_are_bad_input(folder: Path, text: str, words: str) -> None:
    (folder / "c.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words) as caught:
        call("--compare", "c.json", "-o", "r.html")
    assert "\n" not in str(caught.value)


def test_a_question_that_the_solver_refuses_is_one_line(folder: Path) -> None:
    fleet = random_fleet(3, devices=6, layers=4)
    write(folder / "fleet.json", fleet)
    solved = CliRunner().invoke(
        cli, ["solve", "fleet.json", "--ranks", "2", "--energy-j", "1e6", "-o", "plan.json"]
    )
    assert solved.exit_code == 0
    dark = [replace(c, device=replace(c.device, power_w=0.0)) for c in fleet.classes]
    write(folder / "fleet.json", replace(fleet, classes=dark))
    with pytest.raises(
        InputError, match=r"'legend frontier' on fleet\.json failed: "
    ) as caught:
        call("--fleet", "fleet.json", "-o", "r.html")
    assert "\n" not in str(caught.value)


def test_a_fleet_that_is_none_is_one_line(folder: Path) -> None:
    (folder / "fleet.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=r"fleet\.json: no 'schema' field") as caught:
        call("--fleet", "fleet.json", "-o", "r.html")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("count", [1, 5000])
def test_a_frontier_of_any_length_can_be_drawn(count: int) -> None:
    points = [
        FrontierPoint(round_time_s=20 + i, utility=i / count, mean_depth=3.0, mean_wait_s=1.0)
        for i in range(count)
    ]
    text = render(plan_to_show(), Sources(frontier=points))
    assert text.count("<svg") == 4
    assert len(text) < 1_000_000


def test_text_of_the_solver_is_escaped_everywhere() -> None:
    rows = decode_policies(json.dumps(POLICIES).encode(), "x")
    rows = [replace(row, policy=HOSTILE + str(i), reason=HOSTILE) for i, row in enumerate(rows)]
    page = Page(render(plan_to_show(), Sources(policies=rows, note=HOSTILE)))
    assert page.open == []
    assert page.count("script") == 0
    assert "alert('x')" in page.words


def test_the_table_marks_the_plan_and_keeps_remarks_below() -> None:
    table = policy_table(plan_to_show(), decode_policies(json.dumps(POLICIES).encode(), "x"))
    assert table.bold == 0
    assert table.lines[1] == [
        "exact, own ranks", "0.70000", "30.0 %", "30.0 s", "3.00 s", "20.0 MB", "20.0 MB", "–",
    ]  # fmt: skip
    assert table.lines[3][1:] == ["–"] * 7
    assert [note.split(":")[0] for note in table.notes] == ["hralora", "fedlora"]


def test_caches_and_links_have_columns_where_there_are_any() -> None:
    plan = plan_to_show()
    assert "cache" not in class_table(plan).columns
    devices = []
    for device in plan.devices:
        cost = device.predicted and replace(device.predicted, storage_bytes=3e9)
        cache = "round" if device.device_class == "xavier-nx" else "off"
        devices.append(replace(device, cache=cache, link="ap-1", predicted=cost))
    link = PredictedLink(name="ap-1", busy_s=15.0, upload_bytes=1e6, download_bytes=2e6)
    plan = replace(plan, devices=devices, links=[link])
    table = class_table(plan)
    assert table.columns[-2:] == ["cache", "most storage"]
    assert [line[-2:] for line in table.lines if line[0] == "xavier-nx"] == [
        ["3 round", "3.00 GB"]
    ]
    assert link_table(plan).lines == [["ap-1", "9", "15.0 s", "50.0 %", "1.00 MB", "2.00 MB"]]
