"""How runs learn: accuracy against virtual time and against bytes uploaded."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from finetune.report.drawing import Drawing
from finetune.report.runs import Point, Run
from finetune.report.style import INK, LINES, axes_px
from finetune.report.words import amount, printable, seconds, time_unit

__all__ = ["accuracy_by_time", "accuracy_by_upload"]

WIDTH_PX, HEIGHT_PX, LEFT_PX, TOP_PX, EDGE_PX = 340, 230, 58, 12, 18
KEY_ROW_PX, AXIS_PX, KEY_COLUMNS = 17, 44, 2
BYTE_UNITS = ((1e12, 1e12, "TB"), (1e9, 1e9, "GB"), (1e6, 1e6, "MB"), (0.0, 1e3, "kB"))


def accuracy_by_time(runs: Sequence[Run]) -> Drawing:
    """Draw test accuracy against the virtual clock, a line a run."""
    longest = max((p.time_s for run in runs for p in run.points), default=0.0)
    unit = time_unit(longest)
    return _curves(
        runs,
        [[p.time_s / unit.seconds for p in run.points] for run in runs],
        f"virtual time, {unit.name}",
        "learning-time",
        f"Test accuracy against virtual time, up to {seconds(longest)}; {_ends(runs)}",
    )


def accuracy_by_upload(runs: Sequence[Run]) -> Drawing:
    """Draw test accuracy against the bytes that all devices sent, a line a run."""
    most = max((p.upload_bytes for run in runs for p in run.points), default=0.0)
    size, unit = next((size, unit) for least, size, unit in BYTE_UNITS if most >= least)
    return _curves(
        runs,
        [[p.upload_bytes / size for p in run.points] for run in runs],
        f"uploaded by all devices, {unit}",
        "learning-upload",
        f"Test accuracy against bytes uploaded, up to {amount(most)}; {_ends(runs)}",
    )


def _ends(runs: Sequence[Run]) -> str:
    ends = [
        f"{run.label} ends at {100 * run.points[-1].smooth:.1f} %" for run in runs if run.points
    ]
    return "; ".join(ends) + "."


def _curves(
    runs: Sequence[Run], across: list[list[float]], unit: str, name: str, label: str
) -> Drawing:
    def figure() -> Figure:
        key_px = KEY_ROW_PX * -(-len(runs) // KEY_COLUMNS)
        height = TOP_PX + HEIGHT_PX + AXIS_PX + key_px
        made = Figure(figsize=(WIDTH_PX / 72, height / 72))
        axes = axes_px(made, LEFT_PX, TOP_PX, WIDTH_PX - LEFT_PX - EDGE_PX, HEIGHT_PX)
        for index, (run, xs) in enumerate(zip(runs, across, strict=True)):
            _curve(axes, run, xs, index)
        _finish(axes, unit)
        return made

    return Drawing(name=name, label=label, figure=figure)


def _finish(axes: Axes, unit: str) -> None:
    axes.set_xlabel(unit)
    axes.set_ylabel("test accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], min_n_ticks=2))
    axes.set_xlim(left=0.0)
    axes.grid(color=INK, alpha=0.13, lw=0.7)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(0, -AXIS_PX / HEIGHT_PX),
        borderaxespad=0,
        borderpad=0,
        ncols=KEY_COLUMNS,
        handlelength=2.6,
    )


def _curve(axes: Axes, run: Run, xs: list[float], index: int) -> None:
    """Every evaluation as a faint dot, their trailing mean as the line."""
    colour, dashes = LINES[index % len(LINES)]
    points: tuple[Point, ...] = run.points
    axes.plot(xs, [p.accuracy for p in points], ".", color=colour, alpha=0.55, ms=4)
    axes.plot(
        xs,
        [p.smooth for p in points],
        color=colour,
        ls=dashes,
        lw=2.0,
        label=printable(run.label, 24).lstrip("_") or "run",
    )
