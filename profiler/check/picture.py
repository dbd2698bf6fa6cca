"""A check as a picture: predicted over measured, and the errors below."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from profiler.check.result import QUANTITIES, Case, CheckReport
from profiler.check.show import ranks_text
from profiler.schema import InputError

# Okabe and Ito's colours, told apart with any colour vision; marks and dashes differ as well.
STYLES = {
    "time": {"color": "#0072B2", "marker": "o"},
    "time_rescaled": {"color": "#E69F00", "marker": "^"},
    "tensors": {"color": "#009E73", "marker": "s"},
    "growth": {"color": "#CC79A7", "marker": "D"},
}
COLUMNS = {
    "step time, ms": (("time", "time_rescaled"), 1e3),
    "peak memory, MB": (("tensors", "growth"), 1e-6),
}


def draw_check(report: CheckReport, path: Path) -> None:
    """Draw a check; the same report gives the same bytes.

    Parameters
    ----------
    report : CheckReport
        What was found.
    path : Path
        Ends in ``.svg`` or ``.png``.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    with mpl.rc_context({"svg.hashsalt": "legend", "font.size": 9}):
        figure = Figure(figsize=(10, 7), layout="constrained")
        axes = figure.subplots(2, len(COLUMNS), squeeze=False)
        for column, (title, (names, unit)) in enumerate(COLUMNS.items()):
            _scatter(axes[0, column], report.cases, title, names, unit)
            _errors(axes[1, column], report, names)
        figure.suptitle(
            f"{report.model} on {report.device}: configurations that no fit has seen"
        )
        try:
            figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from None


def _scatter(
    axes: Any, cases: list[Case], title: str, names: tuple[str, ...], unit: float
) -> None:
    for name in names:
        quantity = QUANTITIES[name]
        measured = [quantity.measured(c) * unit for c in cases]
        predicted = [quantity.predicted(c) * unit for c in cases]
        axes.scatter(measured, predicted, label=quantity.title, alpha=0.8, **STYLES[name])
    axes.axline((0, 0), slope=1, color="0.5", linewidth=0.8, zorder=0)
    axes.set(xlabel=f"measured {title}", ylabel=f"predicted {title}")
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.legend(frameon=False)


def _errors(axes: Any, report: CheckReport, names: tuple[str, ...]) -> None:
    places = range(len(report.cases))
    for name in names:
        errors = [100 * QUANTITIES[name].error_fraction(c) for c in report.cases]
        axes.plot(places, errors, linestyle="none", **STYLES[name])
    if "time" in names:
        noise = [100 * c.noise_fraction for c in report.cases]
        below = [-n for n in noise]
        axes.fill_between(places, below, noise, color="0.85", zorder=0, label="noise floor")
        axes.legend(frameon=False)
    axes.axhline(0, color="0.5", linewidth=0.8, zorder=0)
    axes.set_xticks(
        places, [ranks_text(c.ranks) for c in report.cases], rotation=30, ha="right"
    )
    axes.set(xlabel="depth: ranks", ylabel="error, %")
