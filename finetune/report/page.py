"""The report: one self-contained page that asks nothing of the network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from finetune.report.figures import rank_map, round_timeline
from finetune.report.layout import lay_out
from finetune.report.rows import Row, rows_of
from finetune.report.run_figures import accuracy_by_time, accuracy_by_upload
from finetune.report.run_tables import points_table, runs_table, targets_table
from finetune.report.runs import SMOOTHING, Run
from finetune.report.tables import (
    Table,
    binding_table,
    class_table,
    limits,
    provenance_table,
    rank_table,
    round_table,
)
from finetune.report.words import amount, certificate, printable, seconds, thousands, title
from solver.plan import Plan

__all__ = ["render"]

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture with its words and the table behind it."""

    heading: str
    svg: Markup
    words: str
    table: Table


def render(plan: Plan, runs: Sequence[Run]) -> str:
    """Write the page as HTML; the same plan and runs give the same text.

    Parameters
    ----------
    plan : Plan
    runs : sequence of Run
        Drawn in the order given; may be empty.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rows = rows_of(plan)
    return environment.get_template("page.html").render(
        title=title(plan),
        policy=printable(plan.question.policy, 60),
        certificate=certificate(plan),
        proof=_proof(plan),
        tiles=_tiles(plan),
        pictures=_pictures(plan, rows),
        limits=limits(plan),
        binding=binding_table(plan),
        classes=class_table(plan),
        provenance=provenance_table(plan),
        curves=_curves(runs),
        run_tables=[runs_table(runs), targets_table(runs)] if runs else [],
        smoothing=SMOOTHING,
    )


def _tiles(plan: Plan) -> list[tuple[str, str]]:
    """List the figures that sum a plan up."""
    whole = plan.predicted
    active = sum(d.count for d in plan.devices if d.configuration is not None)
    most = max((d.predicted.memory_bytes for d in plan.devices if d.predicted), default=0.0)
    return [
        ("devices that train", _of(active, sum(d.count for d in plan.devices))),
        ("round time", seconds(whole.round_time_s)),
        ("mean wait", seconds(whole.mean_wait_s)),
        ("utility", f"{whole.utility:.4g}"),
        ("upload a round", amount(whole.upload_bytes)),
        ("most memory", amount(most)),
    ]


def _of(part: int, whole: int) -> str:
    return thousands(whole) if part == whole else f"{thousands(part)} of {thousands(whole)}"


def _pictures(plan: Plan, rows: Sequence[Row]) -> list[Picture]:
    layout = lay_out(rows)
    shown = "One line is a device." if all(r.name for r in rows) else "A line is a mean."
    return [
        Picture(
            heading="Who trains which layers, at which rank",
            svg=Markup(rank_map(plan, layout)),
            words=f"{shown} Grey layers are frozen and carry no adapter on that device.",
            table=rank_table(rows),
        ),
        Picture(
            heading="One round, as predicted",
            svg=Markup(round_timeline(plan, layout)),
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


def _curves(runs: Sequence[Run]) -> list[Picture]:
    """Draw learning curves, if any run was evaluated."""
    if not any(run.points for run in runs):
        return []
    table = points_table(runs)
    return [
        Picture(
            heading="Accuracy against virtual time",
            svg=Markup(accuracy_by_time(runs)),
            words=f"Dots are evaluations, lines their mean over the last {SMOOTHING}.",
            table=table,
        ),
        Picture(
            heading="Accuracy against upload",
            svg=Markup(accuracy_by_upload(runs)),
            words="Bytes that all devices together have sent.",
            table=table,
        ),
    ]


def _proof(plan: Plan) -> Table:
    proof, question = plan.certificate, plan.question
    nothing = "none"
    return Table(
        caption="Certificate",
        columns=["what", "figure"],
        words=2,
        lines=[
            ["status", proof.status.replace("_", " ")],
            ["objective", question.objective],
            ["value", f"{proof.value:.9g}"],
            ["bound", nothing if proof.bound is None else f"{proof.bound:.9g}"],
            [
                "gap",
                nothing if proof.gap_fraction is None else f"{100 * proof.gap_fraction:.3g} %",
            ],
            ["method", printable(proof.method, 120)],
        ],
    )
