"""Speed ratios of dp-vs-milp."""

import re

from matplotlib.figure import Figure

from benchmarks.pictures.look import (
    OURS,
    QUIET,
    TARGET,
    WHITE,
    find,
    log_scale,
    panels,
    scatter_row,
)
from benchmarks.result import Result
from benchmarks.words import number


def speed_ratios(result: Result) -> Figure | None:
    """One row a peer, in groups by instance; a ratio that is a floor has an arrow."""
    found = find(result, "peer / dynamic program")
    if not found:
        return None
    instances = list(dict.fromkeys(one.setting.split(";")[0] for one in found))
    figure, (axes,) = panels(1, height=0.27 * (len(found) + 1.6 * len(instances)) + 1.0)
    row, rows, names = 0.0, [], []
    for instance in instances:
        row -= 0.6
        axes.text(
            0.005, row, instance, transform=axes.get_yaxis_transform(), weight="bold",
            verticalalignment="center", fontsize=10,
        )  # fmt: skip
        row -= 1.0
        for one in (one for one in found if one.setting.split(";")[0] == instance):
            scatter_row(axes, row, one.values, OURS)
            floor = _floor(one.setting)
            words = f"{number(one.median)} ×" + (" or more" if floor else "")
            axes.annotate(
                words, (one.highest, row), xytext=(9, 0), textcoords="offset points",
                verticalalignment="center", fontsize=10, bbox=WHITE,
            )  # fmt: skip
            rows.append(row)
            names.append(one.setting.split(";")[1].strip())
            row -= 1.0
    log_scale(axes, "x")
    axes.set_yticks(rows, names)
    axes.set_ylim(row + 0.3, 0.1)
    axes.set_xlim(left=1, right=max(one.highest for one in found) * 12)
    if found[0].target is not None:
        axes.axvline(found[0].target, color=TARGET, linewidth=1.6, linestyle="--")
        axes.annotate(
            f"target {number(found[0].target)}", (found[0].target, 1),
            xycoords=axes.get_xaxis_transform(), xytext=(4, -4), textcoords="offset points",
            verticalalignment="top", fontsize=10,
        )  # fmt: skip
    axes.axvline(1, color=QUIET)
    axes.set_xlabel("time of the peer's solve call over that of the dynamic program, times")
    return figure


def _floor(setting: str) -> bool:
    """Whether some seed was stopped before the optimum was proven."""
    said = re.search(r"proven (\d+) of (\d+)", setting)
    return said is not None and said[1] != said[2]
