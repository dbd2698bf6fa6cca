"""Tables of a report: what is behind every picture, and what has none."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from finetune.report.rows import PARTS, Row
from finetune.report.words import amount, count, energy, percent, printable, seconds, thousands
from solver.plan import Plan, PlannedDevice, Question

__all__ = [
    "Limit",
    "Table",
    "binding_table",
    "class_table",
    "limits",
    "link_table",
    "provenance_table",
    "rank_table",
    "round_table",
]

MOST_LINES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of text.

    Attributes
    ----------
    caption : str
    columns : list of str
    lines : list of list of str
        The first cell of a line names it.
    words : int
        How many columns from the left hold words; the others hold figures.
    notes : list of str
        Remarks below it.
    bold : int or None
        Index of the line to stress.
    """

    caption: str
    columns: list[str]
    lines: list[list[str]]
    words: int = 1
    notes: list[str] = field(default_factory=list)
    bold: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A budget, and how much of it is used."""

    name: str
    used: str
    limit: str
    percent: float


def rank_table(rows: Sequence[Row]) -> Table:
    """Tabulate the heat map."""
    layers = len(rows[0].ranks)
    lines = [
        [*_who(row), "–" if row.depth is None else f"{row.depth:g}", *map(_rank, row.ranks)]
        for row in rows
    ]
    columns = ["device", "class", "devices", "depth", *(str(i + 1) for i in range(layers))]
    return Table(
        caption="Rank by layer, from the input (1) to the output",
        columns=columns,
        lines=lines,
        words=2,
    )


def round_table(rows: Sequence[Row]) -> Table:
    """Tabulate the timeline."""
    lines = [
        [
            *_who(row),
            *(seconds(row.seconds[part]) if row.seconds else "–" for part in PARTS),
            seconds(row.time_s) if row.seconds else "–",
            amount(row.memory_bytes) if row.seconds else "–",
            amount(row.upload_bytes) if row.seconds else "–",
        ]
        for row in rows
    ]
    columns = ["device", "class", "devices", *PARTS, "own time", "memory", "upload"]
    return Table(caption="A round of each device", columns=columns, lines=lines, words=2)


def _who(row: Row) -> list[str]:
    name = row.name or f"mean of {thousands(row.count)}"
    return [printable(name), printable(row.device_class), thousands(row.count)]


def _rank(rank: float) -> str:
    return f"{rank:g}" if rank == round(rank) else f"{rank:.1f}"


def class_table(plan: Plan) -> Table:
    """Sum up each device class; caches only where a device keeps one."""
    caches = any(d.cache != "off" for d in plan.devices)
    lines = []
    for name in sorted({d.device_class for d in plan.devices}):
        members = [d for d in plan.devices if d.device_class == name]
        active = [(d.count, p) for d in members if (p := d.predicted)]
        heads = sum(n for n, _ in active)
        depths = [c.depth for d in members if (c := plan.configuration_of(d))]
        line = [printable(name), thousands(sum(d.count for d in members)), thousands(heads)]
        if heads:
            line += [
                _span(depths),
                seconds(sum(n * p.time_s for n, p in active) / heads),
                seconds(sum(n * p.wait_s for n, p in active) / heads),
                amount(max(p.memory_bytes for _, p in active)),
                amount(sum(n * p.upload_bytes for n, p in active) / heads),
                energy(sum(n * p.energy_j for n, p in active) / heads),
            ]
            line += _cache(members) if caches else []
        lines.append(line + ["–"] * (9 + 2 * caches - len(line)))
    columns = ["class", "devices", "taking part", "depth", "mean time", "mean wait"]
    columns += ["most memory", "mean upload", "mean energy"]
    return Table(
        caption="By device class",
        columns=columns + (["cache", "most storage"] if caches else []),
        lines=lines,
    )


def _cache(members: Sequence[PlannedDevice]) -> list[str]:
    """How many devices keep which cache, and the most storage that one takes."""
    kept = Counter[str]()
    for device in members:
        if device.predicted is not None:
            kept[device.cache] += device.count
    most = max(d.predicted.storage_bytes for d in members if d.predicted)
    names = ", ".join(f"{thousands(n)} {name}" for name, n in sorted(kept.items()))
    return [names, amount(most)]


def link_table(plan: Plan) -> Table:
    """List the links that devices share, busiest first."""
    whole_s = plan.predicted.round_time_s
    lines = [
        [
            printable(link.name),
            thousands(sum(d.count for d in plan.devices if d.link == link.name)),
            seconds(link.busy_s),
            percent(link.busy_s / whole_s) if whole_s > 0 else "–",
            amount(link.upload_bytes),
            amount(link.download_bytes),
        ]
        for link in sorted(plan.links, key=lambda link: (-link.busy_s, link.name))
    ]
    if rest := lines[MOST_LINES:]:
        lines[MOST_LINES:] = [[f"{len(rest)} less busy links", *["–"] * 5]]
    return Table(
        caption="Links that devices share",
        columns=["link", "devices on it", "busy", "of the round", "upload", "download"],
        lines=lines,
    )


def _span(depths: Sequence[int]) -> str:
    low, high = min(depths), max(depths)
    return str(low) if low == high else f"{low} to {high}"


def limits(plan: Plan) -> list[Limit]:
    """List every budget of the question with the figure that comes closest to it."""
    budgets, whole = plan.question.budgets, plan.predicted
    costs = [d.predicted for d in plan.devices if d.predicted]
    found = [
        ("round time", whole.round_time_s, budgets.round_time_s, seconds),
        ("mean wait", whole.mean_wait_s, budgets.mean_wait_s, seconds),
        (
            "upload of a device",
            max((p.upload_bytes for p in costs), default=0.0),
            budgets.upload_bytes,
            amount,
        ),
        (
            "download of a device",
            max((p.download_bytes for p in costs), default=0.0),
            budgets.download_bytes,
            amount,
        ),
        (
            "energy of a device",
            max((p.energy_j for p in costs), default=0.0),
            budgets.energy_j,
            energy,
        ),
        ("sum of ranks", float(sum(plan.ranks)), budgets.rank_budget, lambda r: f"{r:.0f}"),
    ]
    return [
        Limit(name=name, used=say(used), limit=say(limit), percent=_percent(used, limit))
        for name, used, limit, say in found
        if limit is not None
    ]


def _percent(used: float, limit: float) -> float:
    return 100 * used / limit if limit > 0 else 100.0 if used > 0 else 0.0


def binding_table(plan: Plan) -> Table:
    """Count the devices that each constraint stops from one layer more."""
    total = Counter[str]()
    for device in plan.devices:
        reason = device.binding or "not said"
        total["does not take part" if device.configuration is None else reason] += device.count
    ranked = sorted(total.items(), key=lambda item: (-item[1], item[0]))
    lines = [[printable(name, 80), thousands(n)] for name, n in ranked[:MOST_LINES]]
    if rest := ranked[MOST_LINES:]:
        lines.append([f"{len(rest)} others", thousands(sum(n for _, n in rest))])
    return Table(
        caption="What keeps devices from one layer more",
        columns=["constraint", "devices"],
        lines=lines,
    )


def _spans(numbers: Sequence[int]) -> str:
    """Write whole numbers with those in a row as one span, as '1-64' or '4, 8, 16'."""
    ordered = sorted(set(numbers))
    rows = [
        [n for _, n in row]
        for _, row in groupby(enumerate(ordered), key=lambda item: item[1] - item[0])
    ]
    spans = (f"{r[0]}-{r[-1]}" if len(r) > 2 else ", ".join(map(str, r)) for r in rows)
    return ", ".join(spans)


def _steps(question: Question) -> str:
    if question.fill_wait == 1:
        return "the fleet's"
    return f"the fleet's, or up to {question.fill_wait:g} times as many in place of waiting"


def _depths(question: Question) -> str:
    least, most = question.min_depth, question.max_depth
    if most is None:
        return f"{count(least, 'layer')} or more"
    return f"{least} to {count(most, 'layer')}"


def provenance_table(plan: Plan) -> Table:
    """List what made the plan."""
    made, question = plan.provenance, plan.question
    training = plan.training
    lines = [
        ["model", f"{plan.model.name} ({plan.model.family}, {plan.model.layers} layers)"],
        ["model config", f"sha256 {plan.model.config_sha256}"],
        [
            "training step",
            f"batch {training.batch_size}, {training.sequence_length} tokens, "
            f"{training.dtype}, {training.optimizer}, {training.task}",
        ],
        [
            "question",
            f"policy {question.policy}, objective {question.objective}, "
            f"{question.structure} ranks ({question.rank_shape}), weights by "
            f"{question.weights}, {_depths(question)}",
        ],
        ["rank choices", _spans(question.rank_choices)],
        ["cache", question.cache],
        ["codecs", f"uploads {question.upload_codec}, downloads {question.download_codec}"],
        ["local steps", _steps(question)],
        ["made by", f"legend {made.version}, {made.created} (UTC), on {made.host}"],
        ["seed", str(made.seed)],
    ]
    lines += [[f"option {name}", value] for name, value in made.options.items()]
    lines += [[f"input {f.name}", f"sha256 {f.sha256}"] for f in made.inputs]
    lines += [[f"origin of {k}", f"{o.kind}: {o.source}"] for k, o in made.origins.items()]
    clean = [[printable(cell) for cell in line] for line in lines]
    return Table(caption="What made this plan", columns=["what", "value"], lines=clean, words=2)
