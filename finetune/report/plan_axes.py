"""A plan on axes: who trains which layers at which rank, and how a round passes.

Both share the heights of a `Layout`, so that a device is on one line across pictures.
"""

from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from finetune.report.layout import Band, Layout
from finetune.report.style import INK, PART_COLOURS, rank_colour, text_on
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
CHARACTER_PX, MOST_CHARACTERS = 6.4, 21


def labels_px(layout: Layout) -> float:
    """Width that the class labels need."""
    return 16 + CHARACTER_PX * max(len(_label(band)) for band in layout.bands)


def counts_px(layout: Layout) -> float:
    """Width that the numbers of devices at the end of the rows need; 0 where each is one."""
    most = max(placed.row.count for placed in layout.rows)
    return 0 if most == 1 else 14 + CHARACTER_PX * len(thousands(most))


def _label(band: Band) -> str:
    return f"{printable(band.device_class, MOST_CHARACTERS)} × {thousands(band.count)}"


def draw_labels(axes: Axes, layout: Layout) -> None:
    """Name the classes on the left, with their number of devices."""
    axes.set_ylim(layout.height_px, 0)
    axes.set_yticks([])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    for band in layout.bands:
        axes.annotate(
            _label(band),
            (0, band.middle_px),
            xycoords=axes.get_yaxis_transform(),
            xytext=(-6, 0),
            textcoords="offset points",
            ha="right",
            va="center",
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
    span = _span(layout)
    for band in layout.bands:
        for ranks, group in groupby(
            band.rows, key=lambda p: (p.row.depth is None, p.row.ranks)
        ):
            block = list(group)
            box = (block[0].top_px, block[-1].bottom_px)
            if ranks[0]:
                _absent(axes, box, layers)
            else:
                _block(axes, box, ranks[1], span, cell_px)
        _counts(axes, band)


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
    box: tuple[float, float],
    ranks: tuple[float, ...],
    span: tuple[float, float],
    cell_px: float,
) -> None:
    """Rows of the same ranks as one block, each layer's rank written once."""
    top, height = box[0] + 0.4, box[1] - box[0] - 0.8
    bare = next((i for i, rank in enumerate(ranks) if rank > 0), len(ranks))
    if bare:
        axes.add_patch(
            Rectangle((0, top), bare, height, facecolor=INK, alpha=BARE, lw=0, clip_on=False)
        )
    for layer, rank in enumerate(ranks):
        if rank <= 0:
            continue
        colour = rank_colour(rank, *span)
        gap = 0.5 / cell_px
        axes.add_patch(
            Rectangle(
                (layer + gap, top), 1 - 2 * gap, height, facecolor=colour, lw=0, clip_on=False
            )
        )
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
    for band in layout.bands:
        _bars(axes, band)
    axes.axvline(slowest_s, color=INK, lw=1.3)
    if budget_s is not None:
        axes.axvline(budget_s, color="#d55e00", lw=1.5, ls=(0, (4, 2)))


def _bars(axes: Axes, band: Band) -> None:
    for placed in band.rows:
        start = 0.0
        height = placed.bottom_px - placed.top_px
        for part, length in placed.row.seconds.items():
            bar = (start, placed.top_px + 0.4), length, height - 0.8
            if part == "wait":
                axes.add_patch(Rectangle(*bar, facecolor=INK, alpha=BARE, lw=0, clip_on=False))
            elif length > 0:
                axes.add_patch(
                    Rectangle(*bar, facecolor=PART_COLOURS[part], lw=0, clip_on=False)
                )
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
        line = Line2D([], [], color="#d55e00", lw=1.5, ls=(0, (4, 2)))
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
