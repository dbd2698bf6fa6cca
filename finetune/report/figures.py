"""The pictures of a report, each as an SVG element; and the plan alone as a file."""

import io
from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
from finetune.report.style import axes_px, drawing, svg
from finetune.report.words import certificate, count, seconds, title
from solver.plan import InputError, Plan, write_bytes

__all__ = ["rank_map", "round_timeline", "write_picture"]

BODY_PX, TOP_PX, KEY_PX, EDGE_PX = 290, 38, 60, 12
PICTURE_FORMATS = (".svg", ".png")
STANDALONE = """<style>
svg { color: #1b2a3a; background: #ffffff }
@media (prefers-color-scheme: dark) { svg { color: #dbe4ee; background: #11171e } }
</style>"""


def rank_map(plan: Plan, layout: Layout) -> str:
    """Draw the heat map of devices by layers, coloured by rank."""

    def draw(axes: Axes) -> None:
        draw_ranks(axes, layout, plan, BODY_PX)
        rank_key(axes, layout)

    label = (
        f"Heat map: ranks of {plan.model.layers} layers on {count(len(layout.rows), 'row')} "
        "of devices, grouped by class. The table has the figures."
    )
    return _panel(layout, draw, "ranks", label)


def round_timeline(plan: Plan, layout: Layout) -> str:
    """Draw a round as it passes on each device."""

    def draw(axes: Axes) -> None:
        draw_round(axes, layout, plan)
        round_key(axes, layout, plan)

    label = (
        "Timeline: download, computing, upload and wait of each device in a round of "
        f"{seconds(plan.predicted.round_time_s)}. The table has the figures."
    )
    return _panel(layout, draw, "round", label)


def _panel(layout: Layout, draw: Callable[[Axes], None], name: str, label: str) -> str:
    left = labels_px(layout)
    width = left + BODY_PX + max(EDGE_PX, counts_px(layout))
    height = TOP_PX + layout.height_px + KEY_PX
    with drawing():
        figure = Figure(figsize=(width / 72, height / 72))
        axes = axes_px(figure, left, TOP_PX, BODY_PX, layout.height_px)
        draw(axes)
        draw_labels(axes, layout)
        return svg(figure, name, label)


def write_picture(plan: Plan, layout: Layout, path: Path) -> None:
    """Write the plan as one picture: ranks and round side by side.

    Parameters
    ----------
    plan : Plan
    layout : Layout
        Its devices as rows.
    path : Path
        Ends in ``.svg`` (follows the reader's light or dark mode) or ``.png`` (white).
    """
    kind = path.suffix.lower()
    if kind not in PICTURE_FORMATS:
        raise InputError(f"{path}: pictures end in {' or '.join(PICTURE_FORMATS)}; rename it")
    with drawing():
        figure = _picture(plan, layout)
        if kind == ".svg":
            text = svg(figure, "plan", f"{title(plan)}. {certificate(plan)}")
            write_bytes(path, text.replace(">", f">{STANDALONE}", 1).encode())
            return
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=144, metadata={"Software": None})
        write_bytes(path, buffer.getvalue())


def _picture(plan: Plan, layout: Layout) -> Figure:
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
