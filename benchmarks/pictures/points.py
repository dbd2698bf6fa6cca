"""Points that a case keeps: the frontier, and predicted against measured learning."""

from matplotlib.figure import Figure

from benchmarks.pictures.look import COLOURS, OURS, PEER, find, log_scale, panels
from benchmarks.result import Result, Series
from benchmarks.words import number

SPEARMAN = "Spearman, predicted and real"


def frontier(result: Result) -> Figure | None:
    """Most utility over the round time: every seed a line."""
    lines = [one for one in result.series if "utility" in one.columns]
    if not lines:
        return None
    figure, (axes,) = panels(1, width=7.0)
    for one in lines:
        axes.step(
            one.columns["round_time_s"], one.columns["utility"], where="post", color=OURS,
            linewidth=1.1, alpha=0.6,
        )  # fmt: skip
    axes.set(xlabel="round time, seconds", ylabel="most utility, proven")
    log_scale(axes, "x")
    axes.text(
        0.98, 0.06, f"{len(lines)} fleets, a line each", transform=axes.transAxes,
        horizontalalignment="right", fontsize=10,
    )  # fmt: skip
    return figure


def truth(result: Result) -> Figure | None:
    """Measured speed of learning over predicted utility a second, a panel a gain table."""
    by_gain: dict[str, list[Series]] = {}
    for one in result.series:
        if "speed_per_s" in one.columns:
            by_gain.setdefault(one.name, []).append(one)
    if not by_gain:
        return None
    figure, found = panels(len(by_gain), width=max(5.0, 3.7 * len(by_gain)))
    for axes, (gain, runs) in zip(found, by_gain.items(), strict=True):
        for one, colour in zip(runs, (OURS, PEER, *COLOURS), strict=False):
            axes.plot(
                one.columns["predicted_utility_per_s"], one.columns["speed_per_s"], "o",
                color=colour, markersize=5, alpha=0.75,
            )  # fmt: skip
        said = [f for f in find(result, SPEARMAN) if f.setting.split(",")[0] == gain]
        words = "".join(f"\nSpearman {number(one.median)}" for one in said)
        axes.set_title(f"gain table: {gain}{words}", fontsize=10, loc="left")
        axes.set_xlabel("predicted utility a second")
    found[0].set_ylabel("1 / seconds to the target")
    return figure
