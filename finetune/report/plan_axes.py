"""A plan on axes: who trains which layers at which rank, and how a round passes.

Both share the heights of a `Layout`, so that a device is on one line across pictures.
"""

from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from finetune.report.cells import Cells
from finetune.report.layout import Band, Layout, Placed
from finetune.report.style import BUDGET, INK, PART_COLOURS, rank_colour, text_on
from finetune.report.words import printable, seconds, thousands
from solver.plan import Plan

__all__ = [
    "counts_px",
    "draw_labels",
    "draw_ranks",
    "draw_round",
    "labels_px",
    "rank_key",
    "round_key",
]

BARE, ABSENT = 0.09, 0.55
NUMBER_PX = 8.0
CHARACTER_PX, MOST_BESIDE, MOST_ABOVE = 6.4, 28, 44


def labels_px(layout: Layout) -> float:
    """Width that the class labels need on the left."""
    if layout.heading_px:
        return 6
    return 16 + CHARACTER_PX * max(len(_label(band, MOST_BESIDE)) for band in layout.bands)


def counts_px(layout: Layout) -> float:
    """Width that the numbers of devices at the end of the rows need; 0 where each is one."""
    most = max(placed.row.count for placed in layout.rows)
    return 0 if most == 1 else 14 + CHARACTER_PX * len(thousands(most))


def _label(band: Band, most: int) -> str:
    return f"{printable(band.device_class, most)} × {thousands(band.count)}"


def draw_labels(axes: Axes, layout: Layout) -> None:
    """Name the classes, with their number of devices, above or beside their rows."""
    axes.set_ylim(layout.height_px, 0)
    axes.set_yticks([])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    above = layout.heading_px > 0
    for band in layout.bands:
        axes.annotate(
            _label(band, MOST_ABOVE if above else MOST_BESIDE),
            (0, band.top_px if above else band.middle_px),
            xycoords=axes.get_yaxis_transform(),
            xytext=(0, 3) if above else (-6, 0),
            textcoords="offset points",
            ha="left" if above else "right",
            va="baseline" if above else "center",
            annotation_clip=False,
        )


def draw_ranks(axes: Axes, layout: Layout, plan: Plan, width_px: float) -> None:
    """Draw devices down, layers across, the rank as colour and number."""
    layers, cell_px = plan.model.layers, width_px / plan.model.layers
    axes.set_xlim(0, layers)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    step = next(s for s in (1, 2, 4, 5, 10, 20, 50, 100, layers) if s * cell_px >= 16)
    shown = range(step, layers + 1, step) if step > 1 else range(1, layers + 1)
    axes.set_xticks([i - 0.5 for i in shown], [str(i) for i in shown])
    axes.tick_params(length=0, pad=2)
    axes.set_xlabel("layer (input → output)", labelpad=5)
    span, cells = _span(layout), Cells()
    for band in layout.bands:
        for ranks, group in groupby(
            band.rows, key=lambda p: (p.row.depth is None, p.row.ranks)
        ):
            block = list(group)
            box = (block[0].top_px, block[-1].bottom_px)
            if ranks[0]:
                _absent(axes, box, layers)
            else:
                _block(axes, cells, box, ranks[1], span, cell_px)
        _counts(axes, band)
    cells.draw(axes)


def _counts(axes: Axes, band: Band) -> None:
    """Say at the end of each row how many devices it stands for."""
    for placed in band.rows:
        height = placed.bottom_px - placed.top_px
        if placed.row.count > 1 and height >= NUMBER_PX:
            axes.annotate(
                f"× {thousands(placed.row.count)}",
                (1, (placed.top_px + placed.bottom_px) / 2),
                xycoords=axes.get_yaxis_transform(),
                xytext=(4, 0),
                textcoords="offset points",
                fontsize=9,
                va="center_baseline",
                annotation_clip=False,
            )


def _span(layout: Layout) -> tuple[float, float]:
    ranks = [r for placed in layout.rows for r in placed.row.ranks if r > 0]
    return (min(ranks), max(ranks)) if ranks else (1.0, 1.0)


def _block(
    axes: Axes,
    cells: Cells,
    box: tuple[float, float],
    ranks: tuple[float, ...],
    span: tuple[float, float],
    cell_px: float,
) -> None:
    """Rows of the same ranks as one block, each layer's rank written once."""
    top, bottom = box[0] + 0.4, box[1] - 0.4
    height = bottom - top
    bare = next((i for i, rank in enumerate(ranks) if rank > 0), len(ranks))
    cells.add((0, top, bare, bottom), INK, BARE)
    gap = 0.5 / cell_px
    for layer, rank in enumerate(ranks):
        if rank <= 0:
            continue
        colour = rank_colour(rank, *span)
        cells.add((layer + gap, top, layer + 1 - gap, bottom), colour)
        number = f"{rank:.0f}"
        if height >= NUMBER_PX and len(number) * 5 + 3 <= cell_px:
            axes.text(
                layer + 0.5,
                top + height / 2,
                number,
                color=text_on(colour),
                fontsize=min(9.0, height + 1),
                ha="center",
                va="center_baseline",
            )


def _absent(axes: Axes, box: tuple[float, float], layers: int) -> None:
    top, height = box[0] + 0.5, box[1] - box[0] - 1
    axes.add_patch(
        Rectangle((0, top), layers, height, fill=False, ec=INK, alpha=ABSENT, lw=0.6, ls=":")
    )
    if height >= NUMBER_PX:
        axes.text(
            layers / 2,
            top + height / 2,
            "does not take part",
            fontsize=8.5,
            ha="center",
            va="center",
        )


def draw_round(axes: Axes, layout: Layout, plan: Plan) -> None:
    """Draw each device's round from left to right, the slowest device and the budget."""
    slowest_s, budget_s = plan.predicted.round_time_s, plan.question.budgets.round_time_s
    axes.set_ylim(layout.height_px, 0)
    longest_s = max(sum(placed.row.seconds.values()) for placed in layout.rows)
    axes.set_xlim(0, 1.02 * max(slowest_s, longest_s, budget_s or 0.0) or 1.0)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.tick_params(length=0, pad=2)
    axes.set_xlabel("seconds into the round", labelpad=5)
    axes.grid(axis="x", color=INK, alpha=0.15, lw=0.7)
    axes.set_axisbelow(True)
    cells = Cells()
    for placed in layout.rows:
        _bars(cells, placed)
    cells.draw(axes)
    axes.axvline(slowest_s, color=INK, lw=1.3)
    if budget_s is not None:
        axes.axvline(budget_s, color=BUDGET, lw=1.5, ls=(0, (4, 2)))


def _bars(cells: Cells, placed: Placed) -> None:
    start = 0.0
    for part, length in placed.row.seconds.items():
        box = (start, placed.top_px + 0.4, start + length, placed.bottom_px - 0.4)
        cells.add(box, *((INK, BARE) if part == "wait" else (PART_COLOURS[part], 1.0)))
        start += length


def rank_key(axes: Axes, layout: Layout) -> None:
    """Show what colours mean, below the picture."""
    ranks = sorted({round(r) or 1 for p in layout.rows for r in p.row.ranks if r > 0})
    step = max(1, -(-len(ranks) // 7))
    span = _span(layout)
    handles: list[Patch | Line2D] = [Patch(facecolor=INK, alpha=2 * BARE, lw=0, label="frozen")]
    handles += [
        Patch(
            facecolor=rank_colour(min(max(rank, span[0]), span[1]), *span),
            label=f"rank {rank}",
            lw=0,
        )
        for rank in ranks[::-1][::step][::-1]
    ]
    _key(axes, handles, 4)


def round_key(axes: Axes, layout: Layout, plan: Plan) -> None:
    """Name the parts of a round, its time and its budget, below the picture."""
    used = {part for p in layout.rows for part, s in p.row.seconds.items() if s > 0}
    handles: list[Patch | Line2D] = [
        Patch(facecolor=colour, label=part)
        for part, colour in PART_COLOURS.items()
        if part in used and part != "wait"
    ]
    if "wait" in used:
        handles.append(Patch(facecolor=INK, alpha=2 * BARE, label="wait"))
    slowest = f"slowest {seconds(plan.predicted.round_time_s)}"
    handles.append(Line2D([], [], color=INK, lw=1.3, label=slowest))
    if (budget_s := plan.question.budgets.round_time_s) is not None:
        line = Line2D([], [], color=BUDGET, lw=1.5, ls=(0, (4, 2)))
        line.set_label(f"budget {seconds(budget_s)}")
        handles.append(line)
    _key(axes, handles, 3)


def _key(axes: Axes, handles: list[Patch | Line2D], columns: int) -> None:
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0, 0),
        borderaxespad=0.8,
        ncols=columns,
        handlelength=1.1,
        handleheight=0.9,
        columnspacing=1.2,
        borderpad=0,
    )
