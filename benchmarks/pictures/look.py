"""How the pictures look: one palette, one size of text, labels at what they name.

Colours are those of Okabe and Ito, which people with any colour vision can tell apart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.result import Figure as Measured
from benchmarks.result import Result
from finetune.report.style import INK, drawing, svg

if TYPE_CHECKING:
    from benchmarks.pictures.catalogue import Picture

__all__ = [
    "COLOURS",
    "INK",
    "OURS",
    "PEER",
    "QUIET",
    "TARGET",
    "WHITE",
    "End",
    "colours_of",
    "find",
    "label_ends",
    "log_scale",
    "panels",
    "render",
    "scatter_row",
]

OURS, PEER, TARGET, QUIET = "#0072b2", "#d55e00", "#009e73", "#8c96a0"
COLOURS = ("#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", QUIET)
LINE_STYLES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)))
LIGHT = f"<style>svg{{color:{INK};background:#fff}}</style>"
# Inches between labels at the ends of lines, and what axes lack of a picture's height.
APART, FRAME = 0.21, 0.6
FEW_DECADES = 1.7
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
WHITE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0}


def render(picture: "Picture", result: Result) -> str | None:
    """Draw a picture as the text of an SVG file; the same result gives the same text."""
    with drawing():
        figure = picture.draw(result)
        if figure is None:
            return None
        text = svg(figure, picture.name, picture.alt)
    return text.replace(">", f">{LIGHT}", 1)


def panels(count: int, *, height: float = 3.6, width: float = 9.6) -> tuple[Figure, list[Axes]]:
    """A picture of panels side by side, in inches, with quiet grids."""
    figure = Figure(figsize=(width, height), layout="constrained")
    found = [figure.add_subplot(1, count, place + 1) for place in range(count)]
    for axes in found:
        axes.grid(color=INK, alpha=0.12, linewidth=0.8)
        axes.set_axisbelow(True)
    return figure, found


def find(result: Result, name: str, setting: str | None = None) -> list[Measured]:
    """Figures of a name, and of a setting if one is given, in the order of the result."""
    return [
        one for one in result.figures if one.name == name and setting in (None, one.setting)
    ]


def log_scale(axes: Axes, *sides: Literal["x", "y"]) -> None:
    """Make axes that are drawn on logarithmic, with plain numbers at powers of ten.

    Where there are few of those, also at 2 and 5 of each.
    """
    for side in sides:
        axes.set(**{f"{side}scale": "log"})
        _round_numbers(axes.xaxis if side == "x" else axes.yaxis)


def _round_numbers(axis: Axis) -> None:
    low, high = axis.get_data_interval()
    near = np.log10(high / low) < FEW_DECADES if 0 < low < high else False
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if near else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))
    axis.set_minor_formatter(NullFormatter())


def _plain(value: float) -> str:
    """A round number in full, or as a power of ten where that is long."""
    power = round(math.log10(value)) if value > 0 else 0
    if -3 <= power <= 3 or not math.isclose(value, 10.0**power):
        return f"{value:g}"
    return "10" + str(power).translate(SUPERSCRIPTS)


def colours_of(names: Sequence[str]) -> dict[str, tuple[str, Any]]:
    """Colour and line style by name: ours and LEGEND keep theirs, the others take turns."""
    known = {
        "exact-both-fill": (OURS, "-"),
        "exact-int8-fill": (OURS, LINE_STYLES[1]),
        "exact-int8": (OURS, LINE_STYLES[2]),
        "legend": (PEER, "-"),
    }
    others = [name for name in names if name not in known]
    turns = {
        name: (COLOURS[i % len(COLOURS)], LINE_STYLES[i // len(COLOURS) % len(LINE_STYLES)])
        for i, name in enumerate(others)
    }
    return {**{name: known[name] for name in names if name in known}, **turns}


def scatter_row(axes: Axes, row: float, values: Sequence[float], colour: str) -> None:
    """Every value of a repetition as a point in a row, and their median as a bar."""
    ordered = sorted(values)
    middle = (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2
    axes.plot([ordered[0], ordered[-1]], [row, row], color=colour, alpha=0.35, linewidth=5)
    axes.plot(values, [row] * len(values), "o", color=colour, markersize=4.5, alpha=0.75)
    axes.plot([middle], [row], "|", color=INK, markersize=15, markeredgewidth=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The end of a line, and what stands beside it."""

    x: float
    y: float
    text: str
    colour: str
    style: Any = "-"


def label_ends(axes: Axes, ends: Sequence[End]) -> None:
    """Name lines at the right edge of linear heights, moved apart where they would touch."""
    low, high = axes.get_ylim()
    ordered = sorted(ends, key=lambda end: end.y)
    heights = [(end.y - low) / (high - low) for end in ordered]
    assert isinstance(axes.figure, Figure)
    apart = APART / (axes.figure.get_figheight() - FRAME)
    for place in range(1, len(heights)):
        heights[place] = max(heights[place], heights[place - 1] + apart)
    over = max(heights[-1] - 1, 0) if heights else 0
    for end, height in zip(ordered, heights, strict=True):
        axes.annotate(
            end.text,
            (end.x, end.y),
            xytext=(1.04, height - over),
            textcoords="axes fraction",
            verticalalignment="center",
            fontsize=10,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": end.colour,
                "linestyle": end.style,
                "linewidth": 1.4,
                "relpos": (0.0, 0.5),
                "shrinkA": 1.0,
                "shrinkB": 0.0,
            },
        )
