"""What the solver answered, as pictures: the frontier, and policies side by side."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from finetune.report.answers import Cost, FrontierPoint, Policy, is_planned
from finetune.report.drawing import Drawing
from finetune.report.style import BUDGET, CHOSEN, INK, axes_px
from finetune.report.words import TimeUnit, amount, printable, seconds, time_unit
from solver.plan import Plan

__all__ = ["depth_and_wait", "frontier_curve", "policy_bars"]

WIDTH_PX, HEIGHT_PX, LEFT_PX, TOP_PX, EDGE_PX = 340, 230, 50, 12, 18
AXIS_PX, KEY_PX, GAP_PX = 44, 20, 14
DASHES = (0, (4, 2))
POINT_COLOUR = "#e69f00"
OTHER = 0.32
MOST_DOTS = 200

Say = Callable[[float], str]


def frontier_curve(plan: Plan, points: Sequence[FrontierPoint]) -> Drawing:
    """Draw the largest utility within each round time, and where the plan stands."""
    unit = time_unit(_longest_s(plan, points))

    def figure() -> Figure:
        made = Figure(figsize=(WIDTH_PX / 72, (TOP_PX + HEIGHT_PX + AXIS_PX + KEY_PX) / 72))
        axes = axes_px(made, LEFT_PX, TOP_PX, WIDTH_PX - LEFT_PX - EDGE_PX, HEIGHT_PX)
        times = [p.round_time_s / unit.seconds for p in points]
        utilities = [p.utility for p in points]
        axes.step(times, utilities, where="post", color=CHOSEN, lw=2, label="best")
        if len(points) <= MOST_DOTS:
            axes.plot(times, utilities, ".", color=CHOSEN, ms=5)
        _mark(axes, plan, unit)
        axes.plot(
            plan.predicted.round_time_s / unit.seconds,
            plan.predicted.utility,
            "D",
            color=POINT_COLOUR,
            mec=INK,
            ms=9,
            zorder=5,
            ls="",
            label="this plan",
        )
        _finish(axes, "utility")
        axes.set_xlabel(f"round time, {unit.name}")
        axes.legend(
            loc="upper left",
            bbox_to_anchor=(0, -AXIS_PX / HEIGHT_PX),
            borderaxespad=0,
            borderpad=0,
            ncols=3,
            handlelength=1.8,
        )
        return made

    label = (
        f"Pareto frontier: utility from {points[0].utility:.4g} at "
        f"{seconds(points[0].round_time_s)} to {points[-1].utility:.4g} at "
        f"{seconds(points[-1].round_time_s)}; this plan has "
        f"{plan.predicted.utility:.4g} at {seconds(plan.predicted.round_time_s)}."
    )
    return Drawing(name="frontier", label=label, figure=figure)


def depth_and_wait(plan: Plan, points: Sequence[FrontierPoint]) -> Drawing:
    """Draw what the frontier's plans are like: adapted layers, and time spent waiting."""
    unit = time_unit(_longest_s(plan, points))
    half = (HEIGHT_PX - GAP_PX) / 2

    def figure() -> Figure:
        made = Figure(figsize=(WIDTH_PX / 72, (TOP_PX + HEIGHT_PX + AXIS_PX + KEY_PX) / 72))
        times = [p.round_time_s / unit.seconds for p in points]
        parts = (
            ("layers, mean", [p.mean_depth for p in points]),
            (f"wait, {unit.symbol}", [p.mean_wait_s / unit.seconds for p in points]),
        )
        for index, (name, values) in enumerate(parts):
            top = TOP_PX + index * (half + GAP_PX)
            axes = axes_px(made, LEFT_PX, top, WIDTH_PX - LEFT_PX - EDGE_PX, half)
            dots = ".-" if len(points) <= MOST_DOTS else "-"
            axes.plot(times, values, dots, color=CHOSEN, lw=1.6, ms=5)
            _mark(axes, plan, unit)
            _finish(axes, name)
            if index == 0:
                axes.tick_params(labelbottom=False)
            else:
                axes.set_xlabel(f"round time, {unit.name}")
        return made

    first, last = points[0], points[-1]
    label = (
        f"Mean depth from {first.mean_depth:.1f} to {last.mean_depth:.1f} layers and mean wait "
        f"from {seconds(first.mean_wait_s)} to {seconds(last.mean_wait_s)} along the frontier."
    )
    return Drawing(name="frontier-depth", label=label, figure=figure)


def _longest_s(plan: Plan, points: Sequence[FrontierPoint]) -> float:
    return max(points[-1].round_time_s, plan.predicted.round_time_s)


def _mark(axes: Axes, plan: Plan, unit: TimeUnit) -> None:
    """Mark the budget on the round time, or the plan's own round where it has none."""
    budget_s = plan.question.budgets.round_time_s
    if budget_s is None:
        axes.axvline(plan.predicted.round_time_s / unit.seconds, color=INK, alpha=0.5, lw=1)
    else:
        axes.axvline(budget_s / unit.seconds, color=BUDGET, lw=1.4, ls=DASHES, label="budget")


def _finish(axes: Axes, name: str) -> None:
    axes.set_ylabel(name)
    axes.grid(color=INK, alpha=0.13, lw=0.7)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_locator(MaxNLocator(5, min_n_ticks=2))


ROW_PX, LABEL_PX, BAR_PX, PANEL_GAP_PX, FIGURE_PX = 34, 15, 11, 12, 58
PANELS: tuple[tuple[str, Callable[[Cost], float], Say], ...] = (
    ("utility", lambda c: c.utility, lambda v: f"{v:.4g}"),
    ("mean wait", lambda c: c.mean_wait_s, seconds),
    ("upload a round", lambda c: c.upload_bytes, amount),
)


def policy_bars(plan: Plan, policies: Sequence[Policy]) -> Drawing:
    """Draw utility, wait and upload of every policy, its name above its bars."""
    top = 24
    height = top + ROW_PX * len(policies) + 6

    def figure() -> Figure:
        made = Figure(figsize=(WIDTH_PX / 72, height / 72))
        width = (WIDTH_PX - 4 - 2 * PANEL_GAP_PX) / len(PANELS)
        for index, (name, value, say) in enumerate(PANELS):
            left = 2 + index * (width + PANEL_GAP_PX)
            axes = axes_px(made, left, top, width, ROW_PX * len(policies))
            axes.set_title(name, loc="left", fontsize=11, fontweight="bold", pad=6)
            _bars(axes, plan, policies, value, say, width)
            if index == 0:
                _names(axes, plan, policies)
        return made

    ends = "; ".join(
        f"{p.policy}: utility {p.predicted.utility:.4g}" for p in policies if p.predicted
    )
    label = f"Policies side by side under the same budgets. {ends}."
    return Drawing(name="policies", label=label, figure=figure)


def _names(axes: Axes, plan: Plan, policies: Sequence[Policy]) -> None:
    for row, policy in enumerate(policies):
        own = " (this plan)" if is_planned(policy, plan) else ""
        missing = "" if policy.predicted else ": no plan"
        missing = " *" if policy.predicted and policy.reason else missing
        axes.text(
            0,
            ROW_PX * row + LABEL_PX - 3,
            f"{printable(policy.policy, 40)}{own}{missing}",
            fontweight="bold" if own else "normal",
            alpha=1.0 if policy.predicted else 0.75,
            clip_on=False,
        )


def _bars(
    axes: Axes,
    plan: Plan,
    policies: Sequence[Policy],
    value: Callable[[Cost], float],
    say: Say,
    width: float,
) -> None:
    """One bar a policy; the longest leaves room for its figure."""
    axes.set_ylim(ROW_PX * len(policies), 0)
    axes.axis("off")
    most = max((value(p.predicted) for p in policies if p.predicted), default=0.0) or 1.0
    axes.set_xlim(0, width)
    for row, policy in enumerate(policies):
        if policy.predicted is None:
            continue
        figure = value(policy.predicted)
        length = (width - FIGURE_PX) * figure / most
        own = is_planned(policy, plan)
        middle = ROW_PX * row + LABEL_PX + BAR_PX / 2
        axes.barh(
            middle,
            length,
            height=BAR_PX,
            color=CHOSEN if own else INK,
            alpha=1.0 if own else OTHER,
            lw=0,
        )
        axes.text(length + 4, middle, say(figure), va="center_baseline", fontsize=10)
