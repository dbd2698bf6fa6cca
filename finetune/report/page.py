"""The report: one self-contained page that asks nothing of the network."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from finetune.report.pictures import (
    Picture,
    Sources,
    picture_of_policies,
    pictures_of_frontier,
    pictures_of_plan,
    pictures_of_runs,
)
from finetune.report.run_tables import runs_table, targets_table
from finetune.report.runs import SMOOTHING, Run
from finetune.report.tables import (
    Table,
    binding_table,
    class_table,
    limits,
    link_table,
    provenance_table,
)
from finetune.report.words import amount, certificate, printable, seconds, thousands, title
from solver.plan import Plan

__all__ = ["render"]

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading with pictures, tables and a note below them."""

    name: str
    heading: str
    pictures: Sequence[Picture] = ()
    tables: list[Table] = field(default_factory=list)
    note: str = ""


def render(plan: Plan, sources: Sources | None = None) -> str:
    """Write the page as HTML; the same plan and sources give the same text.

    Parameters
    ----------
    plan : Plan
    sources : Sources, optional
        Runs, frontier and policies to show beside it.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Safe: every text in a picture was escaped when it was written as XML.
    environment.filters["element"] = lambda picture: Markup(picture.drawing.element())
    return environment.get_template("page.html").render(
        title=title(plan),
        policy=printable(plan.question.policy, 60),
        certificate=certificate(plan),
        tiles=_tiles(plan),
        before=_before(plan, sources or Sources()),
        limits=limits(plan),
        binding=binding_table(plan),
        after=_after(plan),
    )


def _before(plan: Plan, sources: Sources) -> list[Section]:
    """Sections above the limits: pictures first."""
    found = [
        Section(name="plan", heading="The plan", pictures=pictures_of_plan(plan)),
        Section(
            name="frontier",
            heading="Other round times",
            pictures=pictures_of_frontier(plan, sources.frontier),
            note=sources.note,
        ),
        Section(
            name="policies",
            heading="Policies side by side",
            pictures=(shown := picture_of_policies(plan, sources.policies)),
            tables=[picture.table for picture in shown],
            note=_compared(sources),
        ),
        _runs(sources.runs),
    ]
    return [section for section in found if section.pictures or section.tables]


def _compared(sources: Sources) -> str:
    said = (
        "Given away: utility against ranks of their own for every device. Upload, download and "
        "energy are of all devices in a round. Where the plan had no budget on the round time, "
        "policies get its round time as theirs."
    )
    return f"{said} {sources.note}" if sources.note else said


def _runs(runs: Sequence[Run]) -> Section:
    note = (
        f"An accuracy counts as reached once the mean of {SMOOTHING} evaluations in a row is "
        "at or above it. Times are of the virtual clock."
    )
    return Section(
        name="runs",
        heading="Runs",
        pictures=pictures_of_runs(runs),
        tables=[runs_table(runs), targets_table(runs)] if runs else [],
        note=note,
    )


def _after(plan: Plan) -> list[Section]:
    """Sections below the limits: tables only."""
    links = [link_table(plan)] if plan.links else []
    return [
        Section(name="classes", heading="Device classes", tables=[class_table(plan), *links]),
        Section(
            name="proof",
            heading="Certificate and provenance",
            tables=[_proof(plan), provenance_table(plan)],
        ),
    ]


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
