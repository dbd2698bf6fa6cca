"""The report: complete, self-contained, escaped, the same every time."""

import json
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from finetune.cli.report import report
from finetune.report.layout import lay_out
from finetune.report.page import render
from finetune.report.pictures import Sources
from finetune.report.rows import MOST_ROWS, PARTS, rows_of
from finetune.report.runs import read_runs
from finetune.report.style import INK
from solver.plan import InputError, Plan, write
from tests.finetune.plans import ROUND_S, make_model, plan_to_show
from tests.finetune.report.pages import HOSTILE, Page, run_folder


def hostile_plan() -> Plan:
    plan = plan_to_show(replace(make_model(), name=HOSTILE))
    devices = [
        replace(d, name=HOSTILE + d.name, device_class=HOSTILE, binding=HOSTILE)
        for d in plan.devices
    ]
    question = replace(plan.question, policy=HOSTILE)
    proof = replace(plan.certificate, method=HOSTILE)
    made = replace(plan.provenance, host=HOSTILE, options={HOSTILE: HOSTILE})
    return replace(plan, devices=devices, question=question, certificate=proof, provenance=made)


def test_a_page_has_its_parts_and_says_the_figures() -> None:
    page = Page(render(plan_to_show()))
    assert page.open == []
    assert page.count("svg") == 2
    assert page.count("h1") == 1
    for words in (
        "tiny on 9 devices",
        "Proven optimal",
        "memory",
        "round time",
        "dynamic program",
    ):
        assert words in page.words
    images = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert all(a["role"] == "img" and a["aria-label"] for a in images)
    assert page.count("caption") == page.count("table") > 5


def test_a_page_asks_nothing_of_the_network_and_runs_nothing() -> None:
    page = Page(render(plan_to_show()))
    assert page.count("script") == page.count("img") == page.count("iframe") == 0
    for _, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"src", "href", "xlink:href"}:
                assert (value or "").startswith(("#", "data:,"))


def test_text_of_a_plan_is_escaped_everywhere(tmp_path: Path) -> None:
    runs = read_runs([run_folder(tmp_path / "run", [0.5, 0.6])], [HOSTILE])
    text = render(hostile_plan(), Sources(runs=runs))
    page = Page(text)
    assert page.open == []
    assert page.count("script") == 0
    assert "<script" not in text
    assert "alert('x')" in page.words
    assert "\x00" not in text


def test_ids_are_unique_and_every_reference_is_met(tmp_path: Path) -> None:
    runs = read_runs([run_folder(tmp_path / "run", [0.5, 0.6])], [])
    page = Page(render(plan_to_show(), Sources(runs=runs)))
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(set(ids)) == len(ids)
    for _, attributes in page.tags:
        reference = attributes.get("xlink:href") or ""
        assert not reference.startswith("#") or reference[1:] in ids


def test_the_same_plan_gives_the_same_bytes(tmp_path: Path) -> None:
    folders = [run_folder(tmp_path / "run", [0.5, None, 0.6, 0.7])]
    first, second = (
        render(plan_to_show(), Sources(runs=read_runs(folders, []))) for _ in range(2)
    )
    assert first == second


def test_pictures_follow_the_colours_of_the_page() -> None:
    text = render(plan_to_show())
    assert "prefers-color-scheme: dark" in text
    assert "currentColor" in text
    assert INK not in text.split("</style>", 1)[1]


@pytest.mark.parametrize("devices", [2, 80, 120, 1000])
def test_rows_stay_few_and_lose_no_device(devices: int) -> None:
    plan = plan_to_show(devices=devices)
    rows = rows_of(plan)
    assert len(rows) <= MOST_ROWS
    assert sum(row.count for row in rows) == devices
    assert all(row.name for row in rows) == (devices <= MOST_ROWS)
    for row in rows:
        if row.seconds:
            assert sum(row.seconds[part] for part in PARTS) == pytest.approx(ROUND_S)
    placed = lay_out(rows).rows
    assert all(a.bottom_px <= b.top_px + 1e-9 for a, b in pairwise(placed))


def test_many_classes_and_shapes_fold_into_one_line() -> None:
    plan = plan_to_show(devices=300)
    many = [replace(d, device_class=f"class {i}") for i, d in enumerate(plan.devices)]
    rows = rows_of(replace(plan, devices=many))
    assert sorted((r.device_class, r.count) for r in rows) == [
        ("all classes", 299),
        ("class 299", 1),
    ]
    assert render(replace(plan, devices=many)).count("<svg") == 2


@pytest.mark.parametrize("layers", [1, 2, 48, 120])
def test_any_number_of_layers_can_be_drawn(layers: int) -> None:
    plan = plan_to_show(make_model(layers=layers), depths=(0, 1, layers))
    assert Page(render(plan)).count("svg") == 2


def test_nobody_taking_part_can_be_shown() -> None:
    plan = plan_to_show()
    idle = [replace(d, configuration=None, predicted=None) for d in plan.devices]
    none = replace(plan.predicted, round_time_s=0.0)
    page = Page(render(replace(plan, devices=idle, predicted=none)))
    assert "does not take part" in page.words


def test_figures_too_large_to_draw_are_bad_input() -> None:
    plan = plan_to_show()
    first = plan.devices[0]
    assert first.predicted is not None
    huge = replace(first.predicted, time_s=1e308, compute_s=1e308, wait_s=1e308)
    forged = replace(plan, devices=[replace(first, predicted=huge), *plan.devices[1:]])
    with pytest.raises(InputError, match="too large to draw"):
        render(forged)


@pytest.mark.parametrize(
    ("status", "objective", "bound", "words"),
    [
        (
            "optimal",
            "utility",
            0.62,
            "no plan for this question has a higher utility than 0.62.",
        ),
        ("optimal", "time", 0.62, "a lower round time than 0.62 s."),
        ("feasible", "utility", 0.775, "one higher than 0.775, so at most 20"),
        ("feasible", "utility", None, "is not proven"),
    ],
)
def test_the_certificate_is_one_sentence(
    status: str, objective: str, bound: float | None, words: str
) -> None:
    plan = plan_to_show()
    gap = None if bound is None else (bound - 0.62) / bound
    proof = replace(plan.certificate, status=status, bound=bound, gap_fraction=gap)
    question = replace(plan.question, objective=objective)
    assert words in Page(render(replace(plan, certificate=proof, question=question))).words


def test_a_picture_alone_is_a_valid_svg_or_png(tmp_path: Path) -> None:
    write(tmp_path / "plan.json", hostile_plan())
    for name in ("plan.svg", "plan.png"):
        arguments = [str(tmp_path / "plan.json"), "--picture", str(tmp_path / name)]
        assert CliRunner().invoke(report, arguments).exit_code == 0
        first = (tmp_path / name).read_bytes()
        CliRunner().invoke(report, arguments)
        assert (tmp_path / name).read_bytes() == first
    root = ElementTree.parse(tmp_path / "plan.svg").getroot()
    assert root.tag.endswith("svg")
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_writes_a_page_with_runs(tmp_path: Path) -> None:
    write(tmp_path / "plan.json", plan_to_show())
    run = run_folder(tmp_path / "mine", [0.5, None, 0.6])
    arguments = [
        str(tmp_path / "plan.json"),
        str(run),
        "-o",
        str(tmp_path / "r.html"),
        "--json",
    ]
    result = CliRunner().invoke(report, arguments)
    assert result.exit_code == 0, result.exception
    assert json.loads(result.stdout) == {"files": [str(tmp_path / "r.html")]}
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert page.count("svg") == 4
    assert "mine" in page.words


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ([], "nothing to write"),
        (["nowhere", "-o", "r.html"], "holds no metrics.jsonl"),
        (["run", "-o", "r.html", "--label", "a", "--label", "b"], "2 labels for 1 run"),
        (["--picture", "plan.gif"], "pictures end in"),
        (["run", "--picture", "plan.svg"], "shown on a page or in"),
        (["-o", "none/r.html"], "cannot be written"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "plan.json", plan_to_show())
    run_folder(tmp_path / "run", [0.5])
    result = CliRunner().invoke(report, ["plan.json", *extra])
    assert isinstance(result.exception, InputError)
    assert words in str(result.exception)
    assert "\n" not in str(result.exception)
