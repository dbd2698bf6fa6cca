"""Figures of a case as compact tables."""

from benchmarks.grids import render_grids
from benchmarks.result import figure


def test_settings_stand_down_and_figures_across_with_units_and_targets_above() -> None:
    lines = render_grids(
        [
            figure("time", [1.0, 2.0, 4.0], "s", setting="small, alpha 1", target=5.0),
            figure("gap", [0.5], "1", setting="small, alpha 1", target=0.2, judged="worst"),
            figure("time", [6.0], "s", setting="large, alpha 1", target=5.0),
            figure("gap", [0.0], "1", setting="large, alpha 1", target=0.2, judged="worst"),
        ]
    )
    assert lines == [
        "All: alpha 1.",
        "",
        "| setting | time, s (≤ 5) | gap (≤ 0.2 at worst) |",
        "|---|---|---|",
        "| small | 2 (1 to 4) | 0.5 **missed** |",
        "| large | 6 **missed** | 0 |",
    ]


def test_targets_that_differ_stand_in_the_cells() -> None:
    lines = render_grids(
        [
            figure("ratio", [2.0], "1", setting="a", target=1.5, better="high"),
            figure("ratio", [2.0], "1", setting="b", target=2.8, better="high"),
            figure("ratio", [2.0], "1", setting="c"),
        ]
    )
    assert lines[2:] == ["| a | 2, ≥ 1.5 |", "| b | 2, ≥ 2.8 **missed** |", "| c | 2 |"]


def test_figures_of_one_setting_stand_in_a_list() -> None:
    lines = render_grids(
        [
            figure("time", [2.0], "s", setting="a", target=1.0),
            figure("kept", [4.0], "points", setting="b"),
        ]
    )
    assert lines == [
        "| figure | of | median | target |",
        "|---|---|---|---|",
        "| time | a | 2 s **missed** | ≤ 1 |",
        "| kept | b | 4 points |  |",
    ]


def test_levels_of_a_figure_stand_side_by_side_and_many_figures_down() -> None:
    names = [f"{stem} {level}%" for level in (74, 80) for stem in "abcde"]
    lines = render_grids([figure(n, [1.0], "1", setting=s) for s in ("x", "y") for n in names])
    assert lines[0] == "| setting | x | y |"
    assert [line.split(" | ")[0] for line in lines[2:5]] == ["| a 74%", "| a 80%", "| b 74%"]
