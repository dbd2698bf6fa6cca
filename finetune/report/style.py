"""How pictures look and leave matplotlib: SVG that follows the page's colours, or PNG."""

import io
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finetune.report.words import printable

__all__ = [
    "BUDGET",
    "CHOSEN",
    "INK",
    "LINES",
    "PART_COLOURS",
    "axes_px",
    "drawing",
    "rank_colour",
    "svg",
    "text_on",
]

INK = "#1b2a3a"
"""Colour of text and rules; ``currentColor`` in SVG, so that it suits light and dark."""

BUDGET = "#d55e00"
"""Colour of limits."""

CHOSEN = "#0072b2"
"""Colour of what the page is about, among others of its kind."""

PART_COLOURS = {
    "download": "#56b4e9",
    "compute": "#0072b2",
    "upload": "#e69f00",
    "latency": "#cc79a7",
    "wait": "none",
}
"""Okabe and Ito's palette, which people with any colour vision can tell apart."""

LINES = (
    ("#0072b2", "-"),
    ("#d55e00", "--"),
    ("#009e73", "-."),
    ("#cc79a7", ":"),
    ("#e69f00", (0, (5, 1, 1, 1, 1, 1))),
    ("#56b4e9", (0, (1, 1))),
)

BLACK_AND_WHITE = 0.179
"""Luminance on which black and white have the same contrast."""

FONT = "system-ui, -apple-system, 'Segoe UI', sans-serif"
SETTINGS: dict[Any, object] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "legend",
    "font.family": "DejaVu Sans",
    "font.size": 11.0,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 11.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
}


@contextmanager
def drawing() -> Iterator[None]:
    """Settings for everything drawn within, whatever the user's own matplotlib says."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def axes_px(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Place axes by pixels from the figure's upper left corner."""
    across, down = figure.get_size_inches() * 72
    return figure.add_axes(
        (left / across, 1 - (top + height) / down, width / across, height / down)
    )


def rank_colour(rank: float, least: float, most: float) -> tuple[float, float, float, float]:
    """Colour of a rank on a logarithmic scale, from dark (low) to light (high)."""
    share = math.log(rank / least) / math.log(most / least) if most > least else 0.5
    return mpl.colormaps["viridis"](0.2 + 0.7 * share)


def text_on(colour: tuple[float, float, float, float]) -> str:
    """Black or white, whichever has the higher contrast on `colour` (WCAG 2.2)."""
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]
    )
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "#000000" if luminance > BLACK_AND_WHITE else "#ffffff"


def svg(figure: Figure, name: str, label: str) -> str:
    """Render as an SVG element for a page.

    Parameters
    ----------
    figure : Figure
        Drawn under `drawing`.
    name : str
        Unique on the page; keeps the element's ids apart from those of other pictures.
    label : str
        What is to be seen, for those who do not see it.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"'DejaVu Sans'[^;\"]*", FONT, text)
    text = text.replace(INK, "currentColor")
    return _labelled(_compact(text), label)


def _compact(text: str) -> str:
    """Shorten paths: one line each, hundredths of a point, straight edges by one number."""
    text = re.sub(r'(?<= d=")[^"]*', lambda path: _short(path.group()), text)
    text = re.sub(r"\n\s*", "\n", text)
    return re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)


def _short(path: str) -> str:
    words, at = [], ("", "")
    for command in re.findall(r"[A-Za-z][^A-Za-z]*", path):
        letter, numbers = command[0], [_rounded(n) for n in command[1:].split()]
        if letter == "L" and numbers[1] == at[1]:
            words.append(f"H{numbers[0]}")
        elif letter == "L" and numbers[0] == at[0]:
            words.append(f"V{numbers[1]}")
        else:
            words.append(letter + " ".join(numbers))
        at = (numbers[-2], numbers[-1]) if numbers else at
    return "".join(words)


def _rounded(number: str) -> str:
    return f"{round(float(number), 2) + 0.0:g}"


def _labelled(text: str, label: str) -> str:
    """Give the element a role and a name instead of a fixed size."""
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    attributes = [
        'xmlns="http://www.w3.org/2000/svg"',
        'xmlns:xlink="http://www.w3.org/1999/xlink"',
        box.group() if box else "",
        'role="img"',
        f'aria-label="{escape(printable(label))}"',
    ]
    return f"<svg {' '.join(attributes)}>{body}"
