"""What plans predict and caged devices then do."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.pictures.look import INK, OURS, PEER, QUIET, find, panels
from benchmarks.result import Figure as Measured
from benchmarks.result import Result
from benchmarks.words import quantity

COLOURS = {"LEGEND": OURS, "FedLoRA": PEER}
PAIRS = (
    ("round time, predicted", "round time, training and transfer", "round"),
    ("mean wait, predicted", "mean wait", "mean wait"),
)
RATIOS = (("training, seen over predicted", "o"), ("transfer, seen over predicted", "s"))


def predicted_and_measured(result: Result) -> Figure | None:
    """Seconds as bars (predicted) and points (measured); ratios by device beside them."""
    if not find(result, PAIRS[0][0]):
        return None
    figure, (left, right) = panels(2, height=4.0)
    _seconds(left, result)
    _ratios(right, result)
    return figure


def _seconds(axes: Axes, result: Result) -> None:
    places: list[float] = []
    names = []
    for predicted, measured, word in PAIRS:
        for one in find(result, predicted):
            (seen,) = find(result, measured, one.setting)
            place, colour = float(len(places)), COLOURS.get(one.setting, QUIET)
            axes.bar(place, one.median, color=colour, alpha=0.3, edgecolor=colour, width=0.55)
            axes.plot([place] * len(seen.values), seen.values, "o", color=colour, zorder=3)
            _over(axes, place, max(seen.highest, one.median), one, seen)
            places.append(place)
            names.append(f"{word},\n{one.setting}")
    axes.set_xticks(places, names, fontsize=10)
    axes.set_ylabel("seconds: bars predicted, points measured")
    axes.margins(y=0.16)
    axes.grid(visible=False, axis="x")


def _over(axes: Axes, place: float, top: float, one: Measured, seen: Measured) -> None:
    words = f"{quantity(one.median, 's')}\n→ {quantity(seen.median, 's')}"
    axes.annotate(
        words, (place, top), xytext=(0, 5), textcoords="offset points",
        horizontalalignment="center", fontsize=9,
    )  # fmt: skip


def _ratios(axes: Axes, result: Result) -> None:
    """Every round of every device, training and transfer in rows of their own."""
    rows: list[str] = []
    axes.axvline(1, color=INK, linewidth=1.2)
    for name, marker in RATIOS:
        for one in find(result, name):
            plan, _, device = one.setting.partition(", ")
            label = f"{name.partition(',')[0]}, {device}"
            if label not in rows:
                rows.append(label)
            shift = 0.16 if plan == "LEGEND" else -0.16
            axes.plot(
                one.values, [rows.index(label) + shift] * len(one.values), marker,
                color=COLOURS.get(plan, QUIET), markersize=5.5, alpha=0.85,
            )  # fmt: skip
    axes.set_yticks(range(len(rows)), rows, fontsize=10)
    axes.invert_yaxis()
    axes.set_xlabel("measured over predicted, by round")
    for place, (plan, colour) in enumerate(COLOURS.items()):
        axes.text(
            0.25 * place, 1.03, f"● {plan}", color=colour, transform=axes.transAxes, fontsize=11
        )
