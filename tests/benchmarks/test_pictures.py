"""Pictures of results: all are drawn, the same twice, and shown on the page."""

import shutil
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace

from benchmarks.curves_file import curve_series
from benchmarks.pictures.catalogue import PICTURES, draw_all, picture_path
from benchmarks.pictures.look import End, colours_of, label_ends, panels
from benchmarks.registry import NAMES, find, run
from benchmarks.result import Figure, Result, Series, figure
from benchmarks.table import render
from tests.benchmarks.curves import curve

ARMS = ("exact-int8", "legend", "fedlora")


def planning() -> list[Figure]:
    sizes = [
        one
        for power in range(3, 8)
        for one in (
            figure("planning time", [1e-6 * 10**power], "s", setting=f"1e{power} devices",
                   target=10.0 if power == 7 else None),
            figure("peak memory above input", [1e-4 * 10**power], "MB",
                   setting=f"1e{power} devices"),
        )
    ]  # fmt: skip
    again = [
        figure("re-planning, whole command", [0.1 * n], "s", setting=f"paper-80, {n} devices")
        for n in (80, 1000)
    ]
    return [*sizes, *again]


def racing() -> list[Figure]:
    def one(setting: str, values: list[float]) -> Figure:
        return figure("peer / dynamic program", values, "1", setting=setting, target=1e3,
                      better="high")  # fmt: skip

    return [
        one("80 devices x 12 layers x 8 ranks; arcs, scipy; proven 2 of 2", [400.0, 500.0]),
        one("80 devices x 12 layers x 64 ranks; arcs, scipy; proven 1 of 2", [9e3, 2e4]),
    ]


def learning() -> list[Figure]:
    return [
        one
        for place, arm in enumerate(ARMS, start=1)
        for label in ("74%", "80%")
        for one in (
            figure(f"seeds that reach {label}", [2.0 if label == "74%" else 0.0], "seeds",
                   setting=f"{arm}, alpha 10"),
            figure(f"time to {label}", [10.0 * place, 11.0], "s", setting=f"{arm}, alpha 10"),
            figure(f"upload to {label}", [5.0, 7.0], "MB", setting=f"{arm}, alpha 10"),
        )
    ]  # fmt: skip


def caged() -> list[Figure]:
    return [
        figure(name, values, unit, setting=setting + device)
        for setting in ("LEGEND", "FedLoRA")
        for name, values, unit, device in (
            ("round time, predicted", [8.0], "s", ""),
            ("round time, training and transfer", [8.5, 9.0], "s", ""),
            ("mean wait, predicted", [2.0], "s", ""),
            ("mean wait", [2.5], "s", ""),
            ("training, seen over predicted", [1.1, 1.2], "1", ", fast"),
            ("transfer, seen over predicted", [0.9], "1", ", fast"),
        )
    ]


def points() -> list[Series]:
    curves = {arm: [curve(place), curve(place + 0.5)] for place, arm in enumerate(ARMS, 1)}
    steps = {"round_time_s": [1.0, 2.0, 30.0], "utility": [0.5, 0.8, 0.9]}
    plans = {"predicted_utility_per_s": [0.1, 0.2, 0.3], "speed_per_s": [0.0, 0.01, 0.03]}
    return [
        *curve_series(curves, 10.0),
        Series(name="frontier", seed=0, columns=steps),
        Series(name="fisher", seed=0, columns=plans),
    ]


@pytest.fixture(scope="module")
def results() -> list[Result]:
    """A result of every case that holds what any picture shows."""
    result = run(find("frontier"), quick=True, seeds=1)
    figures = [*planning(), *racing(), *learning(), *caged()]
    layers = [
        figure("planning time", [0.1 * n], "s", setting=f"model, {n} layers") for n in (6, 80)
    ]
    return [
        replace(
            result,
            case=name,
            seeds=2,
            figures=[*figures, *(layers if name == "scale" else [])],
            series=points(),
        )
        for name in NAMES
    ]


@pytest.fixture(scope="module")
def drawn(results: list[Result], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all pictures, drawn once."""
    folder = tmp_path_factory.mktemp("results")
    assert len(draw_all(results, folder)) == len(PICTURES)
    return folder


def test_every_picture_is_drawn_and_says_what_it_shows(drawn: Path) -> None:
    for picture in PICTURES:
        root = ET.fromstring(picture_path(picture, drawn).read_text(encoding="utf-8"))
        assert root.get("aria-label") == picture.alt
        assert "background:#fff" in (root.findtext("{*}style") or "")
        assert len(root.findall(".//{*}text")) > 3
        assert picture.alt.endswith(".")
        assert picture.case in NAMES


def test_the_same_results_give_the_same_files(
    results: list[Result], drawn: Path, tmp_path: Path
) -> None:
    again = {path.name: path.read_bytes() for path in draw_all(results, tmp_path)}
    first = {path.name: path.read_bytes() for path in (drawn / "pictures").iterdir()}
    assert first == again
    assert b"<metadata" not in b"".join(first.values())


def test_pictures_of_results_that_are_gone_go_too(
    results: list[Result], drawn: Path, tmp_path: Path
) -> None:
    shutil.copytree(drawn, tmp_path, dirs_exist_ok=True)
    bare = replace(results[0], case="utility-truth", series=[])
    draw_all([bare, replace(results[0], case="dp-scale")], tmp_path)
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["dp-scale.svg"]


def test_the_page_shows_what_was_drawn(results: list[Result], tmp_path: Path) -> None:
    folder = tmp_path / "results"
    (scale,) = (result for result in results if result.case == "dp-scale")
    assert "![" not in render([scale], folder)
    draw_all([scale], folder)
    (picture,) = (picture for picture in PICTURES if picture.case == "dp-scale")
    assert f"![{picture.alt}](results/pictures/dp-scale.svg)" in render([scale], folder)


def test_ours_and_legend_keep_their_colours_and_no_two_lines_are_alike() -> None:
    names = [*(f"peer-{i}" for i in range(13)), "legend", "exact-int8"]
    found = colours_of(names)
    assert set(found) == set(names)
    assert len({str(look) for look in found.values()}) == len(names)
    assert found["legend"] == colours_of(["legend"])["legend"]


def test_labels_at_the_ends_of_lines_do_not_touch() -> None:
    _, (axes,) = panels(1)
    axes.set_ylim(0, 100)
    label_ends(axes, [End(x=1, y=90 + y, text=str(y), colour="#000000") for y in range(8)])
    heights = sorted(text.xyann[1] for text in axes.texts if hasattr(text, "xyann"))
    assert len(heights) == 8
    gaps = [after - before for before, after in pairwise(heights)]
    assert min(gaps) > 0.06
    assert max(heights) <= 1
