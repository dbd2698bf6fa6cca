"""Planning time and memory as problems grow."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.fits import exponent, fitted_sizes
from benchmarks.pictures.look import INK, OURS, PEER, TARGET, WHITE, find, log_scale, panels
from benchmarks.result import Figure as Measured
from benchmarks.result import Result
from benchmarks.words import number, quantity

DEVICES = "devices N"


def devices(result: Result) -> Figure | None:
    """Seconds and memory of dp-scale over the number of devices."""
    seconds, memory = (
        find(result, name) for name in ("planning time", "peak memory above input")
    )
    if len(seconds) < 2 or not memory:
        return None
    figure, (left, right) = panels(2)
    _grow(left, _by_devices(seconds), "planning time, seconds", OURS, DEVICES, "N")
    _grow(right, _by_devices(memory), "peak memory above input, MB", PEER, DEVICES, "N")
    return figure


def everything(result: Result) -> Figure | None:
    """Seconds of scale over devices and layers, and of planning anew."""
    planning = find(result, "planning time")
    again = find(result, "re-planning, whole command")
    if len(planning) < 2 or not again:
        return None
    layers = {
        float(one.setting.split()[-2]): one for one in planning if "layers" in one.setting
    }
    sizes = _by_devices([one for one in planning if "layers" not in one.setting])
    fleets = {float(one.setting.split()[-2]): one for one in again}
    figure, (left, middle, right) = panels(3, width=11.4)
    _grow(left, sizes, "planning time, seconds", OURS, DEVICES, "N")
    _grow(middle, layers, "planning time, seconds", PEER, "layers L", "L")
    _grow(right, fleets, "re-planning, whole command, seconds", TARGET, DEVICES, "")
    middle.set_xticks(list(layers), [f"{size:g}" for size in layers], fontsize=9)
    middle.minorticks_off()
    return figure


def _by_devices(figures: Sequence[Measured]) -> dict[float, Measured]:
    return {float(one.setting.split()[0]): one for one in figures}


def _grow(
    axes: Axes,
    found: dict[float, Measured],
    title: str,
    colour: str,
    over: str,
    symbol: str,
) -> None:
    """Every repetition as a point, medians as a line, targets as bars, a fit as a dashed line.

    Without a symbol for the size there is no fit, and heights are linear.
    """
    axes.set(xlabel=over, ylabel=title)
    sizes = list(found)
    for size, one in found.items():
        axes.plot([size] * len(one.values), one.values, "o", color=colour, markersize=4,
                  alpha=0.6)  # fmt: skip
        if one.target is not None:
            axes.plot(size, one.target, "_", color=INK, markersize=18, markeredgewidth=2)
            axes.annotate(
                f"target {quantity(one.target, one.unit)}", (size, one.target), xytext=(-12, 0),
                textcoords="offset points", horizontalalignment="right",
                verticalalignment="center", fontsize=10,
            )  # fmt: skip
    axes.plot(sizes, [one.median for one in found.values()], color=colour, linewidth=1.6)
    last, most = sizes[-1], found[sizes[-1]]
    axes.annotate(
        quantity(most.median, most.unit), (last, most.median), xytext=(7, -9),
        textcoords="offset points", weight="bold", fontsize=10, bbox=WHITE,
    )  # fmt: skip
    log_scale(axes, "x")
    if symbol:
        log_scale(axes, "y")
    else:
        axes.set_ylim(0, 1.25 * most.highest)
    axes.margins(x=0.24, y=0.16 if symbol else None)
    fitted = fitted_sizes(sizes)
    if symbol and len(fitted) > 1:
        _fit(axes, {size: found[size].median for size in fitted}, symbol)


def _fit(axes: Axes, medians: dict[float, float], symbol: str) -> None:
    """A straight line through the medians in logarithms, named by its exponent."""
    sizes = list(medians)
    slope, factor = exponent(sizes, list(medians.values()))
    axes.plot(
        sizes, [factor * size**slope for size in sizes], color=INK, linestyle="--", linewidth=1
    )
    words = f"grows as {symbol} to the {number(round(slope, 2))}"
    axes.text(
        0.03, 0.97, f"{words}\n(dashed, from {symbol} = {sizes[0]:,.0f})",
        transform=axes.transAxes, verticalalignment="top", fontsize=10, bbox=WHITE,
    )  # fmt: skip
