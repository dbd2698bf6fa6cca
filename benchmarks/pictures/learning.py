"""Accuracy over virtual time and bytes, and what it takes to reach one, by policy."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.curves_file import ACCURACY, TIME, UPLOAD
from benchmarks.pictures.look import (
    End,
    colours_of,
    find,
    label_ends,
    log_scale,
    panels,
    scatter_row,
)
from benchmarks.result import Result, Series

REACH, TO_TIME, TO_UPLOAD = "seeds that reach ", "time to ", "upload to "
# Smallest height of a row, in inches.
ROW = 0.34


def curves(result: Result) -> Figure | None:
    """Accuracy over virtual time and over uploaded bytes."""
    by_arm: dict[str, list[Series]] = {}
    for one in result.series:
        if ACCURACY in one.columns:
            by_arm.setdefault(one.name, []).append(one)
    if not by_arm:
        return None
    figure, (left, right) = panels(2, height=max(3.8, 0.9 + ROW * len(by_arm)), width=10.6)
    _draw(left, by_arm, TIME, 1.0)
    ends = _draw(right, by_arm, UPLOAD, 1e-6)
    left.set(xlabel="virtual time, seconds", ylabel="test accuracy, %")
    right.set(xlabel="uploaded by all devices, MB")
    log_scale(right, "x")
    right.sharey(left)
    label_ends(right, ends)
    return figure


def _draw(axes: Axes, by_arm: dict[str, list[Series]], column: str, scale: float) -> list[End]:
    """Seeds as thin lines, the mean by evaluation as a thick one; returns where they end."""
    ends = []
    for name, (colour, style) in colours_of(list(by_arm)).items():
        runs = by_arm[name]
        rows = min(len(run.columns[column]) for run in runs)
        x = scale * np.array([run.columns[column][:rows] for run in runs])
        y = 100 * np.array([run.columns[ACCURACY][:rows] for run in runs])
        if len(runs) > 1:
            axes.plot(x.T, y.T, color=colour, linestyle=style, linewidth=0.7, alpha=0.45)
        middle_x, middle_y = x.mean(axis=0), y.mean(axis=0)
        axes.plot(middle_x, middle_y, color=colour, linestyle=style, linewidth=2.2)
        ends.append(
            End(
                x=float(middle_x[-1]),
                y=float(middle_y[-1]),
                text=name,
                colour=colour,
                style=style,
            )
        )
    return ends


def reached(result: Result) -> Figure | None:
    """Virtual time and bytes to the highest accuracy that most runs reach."""
    target = _target(result)
    if target is None:
        return None
    time_s, upload = (find(result, f"{name}{target}") for name in (TO_TIME, TO_UPLOAD))
    reach = {one.setting: one.median for one in find(result, f"{REACH}{target}")}
    order = sorted(time_s, key=lambda one: one.median, reverse=True)
    uploads = {one.setting: one for one in upload}
    names = [one.setting.split(",")[0] for one in order]
    colours = colours_of([one.setting.split(",")[0] for one in time_s])
    figure, (left, right) = panels(2, height=1.1 + ROW * len(order))
    for row, (one, name) in enumerate(zip(order, names, strict=True)):
        scatter_row(left, row, one.values, colours[name][0])
        scatter_row(right, row, uploads[one.setting].values, colours[name][0])
        missing = result.seeds - int(reach[one.setting])
        if missing:
            left.annotate(
                f"{missing} of {result.seeds} never do", (one.highest, row), xytext=(7, 0),
                textcoords="offset points", verticalalignment="center", fontsize=9,
            )  # fmt: skip
    left.set_yticks(range(len(names)), names)
    right.set_yticks(range(len(names)), [])
    left.set(xlabel=f"virtual time to {target} accuracy, seconds", xlim=(0, None))
    left.margins(x=0.2)
    right.set(xlabel="uploaded until then, MB")
    log_scale(right, "x")
    return figure


def _target(result: Result) -> str | None:
    """The accuracy that the most runs reach; of several, the highest."""
    totals: dict[str, float] = {}
    for one in result.figures:
        if one.name.startswith(REACH):
            label = one.name.removeprefix(REACH)
            totals[label] = totals.get(label, 0.0) + one.median
    if not totals:
        return None
    return max(totals, key=lambda label: (totals[label], label))
