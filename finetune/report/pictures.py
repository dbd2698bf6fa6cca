"""Which pictures a report has, each with its words and the table behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finetune.report.answer_figures import depth_and_wait, frontier_curve, policy_bars
from finetune.report.answer_tables import frontier_table, policy_table
from finetune.report.answers import FrontierPoint, Policy
from finetune.report.drawing import Drawing
from finetune.report.figures import HEADING_PX, rank_map, round_timeline, whole_plan
from finetune.report.layout import lay_out
from finetune.report.rows import rows_of
from finetune.report.run_figures import accuracy_by_time, accuracy_by_upload
from finetune.report.run_tables import points_table
from finetune.report.runs import SMOOTHING, Run
from finetune.report.tables import Table, rank_table, round_table
from finetune.report.words import percent
from solver.plan import InputError, Plan

__all__ = [
    "Picture",
    "Sources",
    "picture_of_policies",
    "pictures_of_frontier",
    "pictures_of_plan",
    "pictures_of_runs",
    "plan_alone",
    "write_pictures",
]

PROVEN = 1e-9
"""Gap below which a point counts as the best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a report shows beside the plan; all of it may be missing.

    Attributes
    ----------
    runs : sequence of Run
        Drawn in the order given.
    frontier : sequence of FrontierPoint
    policies : sequence of Policy
    note : str
        What to know about the frontier and the policies.
    """

    runs: Sequence[Run] = ()
    frontier: Sequence[FrontierPoint] = ()
    policies: Sequence[Policy] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture with its words and the table behind it."""

    heading: str
    drawing: Drawing
    words: str
    table: Table


def pictures_of_plan(plan: Plan) -> list[Picture]:
    """Ranks and round."""
    rows = rows_of(plan)
    layout = lay_out(rows, HEADING_PX)
    shown = "One line is a device."
    if not all(row.name for row in rows):
        shown = "A line is the mean of its devices, and so are the ranks in it."
    return [
        Picture(
            heading="Who trains which layers, at which rank",
            drawing=rank_map(plan, layout),
            words=f"{shown} Grey layers are frozen and carry no adapter on that device.",
            table=rank_table(rows),
        ),
        Picture(
            heading="One round, as predicted",
            drawing=round_timeline(plan, layout),
            words=_uncertainty(plan),
            table=round_table(rows),
        ),
    ]


def _uncertainty(plan: Plan) -> str:
    error = plan.predicted.time_error_fraction
    if error == 0:
        return "All wait for the slowest device."
    return (
        f"All wait for the slowest device. Compute times are uncertain by {100 * error:.1f} % "
        "(one sigma)."
    )


def pictures_of_frontier(plan: Plan, points: Sequence[FrontierPoint]) -> list[Picture]:
    """Utility against round time, and what the plans there are like."""
    if not points:
        return []
    table = frontier_table(points)
    return [
        Picture(
            heading="Utility against round time",
            drawing=frontier_curve(plan, points),
            words=_ceiling(points),
            table=table,
        ),
        Picture(
            heading="What a longer round is spent on",
            drawing=depth_and_wait(plan, points),
            words="Adapted layers and waiting of the best plan at each round time, means over "
            "the devices.",
            table=table,
        ),
    ]


def _ceiling(points: Sequence[FrontierPoint]) -> str:
    gap = max(p.gap_fraction for p in points)
    within = "" if gap < PROVEN else f" by more than {percent(gap)}"
    return (
        f"No plan with shared ranks beats a dot within its round time{within}. Between two "
        "dots the line is the lower one."
    )


def picture_of_policies(plan: Plan, policies: Sequence[Policy]) -> list[Picture]:
    """Policies as bars; their table has the rest."""
    if not policies:
        return []
    return [
        Picture(
            heading="Same fleet, same budgets",
            drawing=policy_bars(plan, policies),
            words="More utility is better; less waiting and less upload are. Each panel has "
            "its own scale. Policies with a * keep other budgets.",
            table=policy_table(plan, policies),
        )
    ]


def pictures_of_runs(runs: Sequence[Run]) -> list[Picture]:
    """Learning curves, if any run was evaluated."""
    if not any(run.points for run in runs):
        return []
    table = points_table(runs)
    return [
        Picture(
            heading="Accuracy against virtual time",
            drawing=accuracy_by_time(runs),
            words=f"Dots are evaluations, lines their mean over the last {SMOOTHING}.",
            table=table,
        ),
        Picture(
            heading="Accuracy against upload",
            drawing=accuracy_by_upload(runs),
            words="Bytes that all devices together have sent.",
            table=table,
        ),
    ]


def plan_alone(plan: Plan) -> Drawing:
    """Ranks and round as one picture."""
    return whole_plan(plan, lay_out(rows_of(plan)))


def write_pictures(plan: Plan, sources: Sources, folder: Path) -> list[Path]:
    """Write every picture of the report as SVG and PNG; returns the paths.

    Raises
    ------
    InputError
        If the folder cannot be made or written to.
    """
    shown = [
        *pictures_of_plan(plan),
        *pictures_of_frontier(plan, sources.frontier),
        *picture_of_policies(plan, sources.policies),
        *pictures_of_runs(sources.runs),
    ]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror})") from None
    written = []
    for drawing in [plan_alone(plan), *(picture.drawing for picture in shown)]:
        for ending in ("svg", "png"):
            written.append(folder / f"{drawing.name}.{ending}")
            drawing.write(written[-1])
    return written
