"""The Pareto curve as a picture."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from profiler.schema import InputError, check_writable
from solver.frontier import Point

# Of the palette of Okabe and Ito, told apart by the colour-blind.
_BLUE, _ORANGE = "#0072B2", "#E69F00"


def check_picture(path: Path) -> None:
    """Refuse a path of another ending, or that cannot be written, before the work."""
    if path.suffix not in (".svg", ".png"):
        raise InputError(f"{path}: ends in '{path.suffix}'; expected .svg or .png")
    check_writable(path)


def draw(points: Sequence[Point], path: Path) -> None:
    """Draw utility and mean depth against round time, as an SVG or PNG.

    Raises
    ------
    InputError
        If the path has another ending or cannot be written.
    """
    check_picture(path)
    figure = Figure(figsize=(7, 4), layout="constrained")
    left = figure.add_subplot(xlabel="round time, seconds", ylabel="utility")
    seconds = [p.round_time_s for p in points]
    left.step(seconds, [p.utility for p in points], where="post", color=_BLUE)
    left.set_xscale("log")
    left.xaxis.set_major_formatter("{x:g}")
    left.xaxis.set_minor_formatter("{x:g}")
    left.grid(alpha=0.3)
    right = left.twinx()
    right.set_ylabel("mean depth, layers (dotted)")
    right.step(seconds, [p.mean_depth for p in points], where="post", color=_ORANGE, ls=":")
    metadata = {"Date": None} if path.suffix == ".svg" else {}
    try:
        with mpl.rc_context({"svg.hashsalt": "legend"}):
            figure.savefig(path, metadata=metadata, dpi=150)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
