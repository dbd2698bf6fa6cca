"""The pictures of a plan: ranks, round, and both side by side."""

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finetune.report.drawing import Drawing
from finetune.report.layout import Layout
from finetune.report.plan_axes import (
    counts_px,
    draw_labels,
    draw_ranks,
    draw_round,
    labels_px,
    rank_key,
    round_key,
)
from finetune.report.style import axes_px
from finetune.report.words import certificate, count, seconds, title
from solver.plan import Plan

__all__ = ["HEADING_PX", "rank_map", "round_timeline", "whole_plan"]

HEADING_PX = 15.0
"""Room for a label above its class, in pictures that must suit a phone."""

PAGE_PX, BODY_PX, TOP_PX, KEY_PX, EDGE_PX = 340, 290, 38, 60, 12


def rank_map(plan: Plan, layout: Layout) -> Drawing:
    """Draw the heat map of devices by layers, coloured by rank."""
    body = _body_px(layout)

    def draw(axes: Axes) -> None:
        draw_ranks(axes, layout, plan, body)
        rank_key(axes, layout)

    label = (
        f"Heat map: ranks of {plan.model.layers} layers on {count(len(layout.rows), 'row')} "
        "of devices, grouped by class. The table has the figures."
    )
    return Drawing(name="ranks", label=label, figure=lambda: _panel(layout, draw))


def round_timeline(plan: Plan, layout: Layout) -> Drawing:
    """Draw a round as it passes on each device."""

    def draw(axes: Axes) -> None:
        draw_round(axes, layout, plan)
        round_key(axes, layout, plan)

    label = (
        "Timeline: download, computing, upload and wait of each device in a round of "
        f"{seconds(plan.predicted.round_time_s)}. The table has the figures."
    )
    return Drawing(name="round", label=label, figure=lambda: _panel(layout, draw))


def _body_px(layout: Layout) -> float:
    return PAGE_PX - labels_px(layout) - max(EDGE_PX, counts_px(layout))


def _panel(layout: Layout, draw: Callable[[Axes], None]) -> Figure:
    height = TOP_PX + layout.height_px + KEY_PX
    figure = Figure(figsize=(PAGE_PX / 72, height / 72))
    axes = axes_px(figure, labels_px(layout), TOP_PX, _body_px(layout), layout.height_px)
    draw(axes)
    draw_labels(axes, layout)
    return figure


def whole_plan(plan: Plan, layout: Layout) -> Drawing:
    """Draw ranks and round side by side, classes named once, beside their rows."""
    label = f"{title(plan)}. {certificate(plan)}"
    return Drawing(name="plan", label=label, figure=lambda: _side_by_side(plan, layout))


def _side_by_side(plan: Plan, layout: Layout) -> Figure:
    between, heading = max(28, counts_px(layout)), 30
    names = labels_px(layout)
    width = names + 2 * BODY_PX + between + EDGE_PX
    top = TOP_PX + heading
    figure = Figure(figsize=(width / 72, (top + layout.height_px + KEY_PX) / 72))
    left = axes_px(figure, names, top, BODY_PX, layout.height_px)
    draw_ranks(left, layout, plan, BODY_PX)
    draw_labels(left, layout)
    rank_key(left, layout)
    right = axes_px(figure, names + BODY_PX + between, top, BODY_PX, layout.height_px)
    draw_round(right, layout, plan)
    right.set_yticks([])
    for side in ("left", "bottom"):
        right.spines[side].set_visible(False)
    round_key(right, layout, plan)
    for axes, text in ((left, "Who trains which layers, at which rank"), (right, "One round")):
        axes.set_title(text, loc="left", fontsize=12.5, fontweight="bold", pad=10)
    return figure
