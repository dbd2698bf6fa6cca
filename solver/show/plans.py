"""Plans as tables that people read."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby
from typing import Literal

from msgspec import UNSET
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from solver.links.said import at_limit
from solver.plan import Configuration, Plan, PlannedDevice
from solver.show.figures import friendly, plain
from solver.show.question import question_text

# Columns beside the ranks, and a layer's cell in the grid.
_BESIDE, _CELL = 78, 3
# Costs of a row, and the terminal that has no room for the later two; --json has them.
_COSTS, _NARROW = ("time s", "wait s", "memory", "upload"), 72
# Devices, or rows of devices alike, that are shown one by one and not by class.
_FEW = 12
# Links named under a plan.
_LINKS = 6
# What a certificate's value is, by objective.
_VALUES = {
    "utility": "utility",
    "time": "round time",
    "efficiency": "utility a second",
    "legend": "mean depth",
}

Layout = Literal["grid", "depth", "runs"]
# A name and a configuration, and who has both.
Members = tuple[tuple[str, int | None], list[PlannedDevice]]
# A word, and what is said under it.
Row = tuple[str, str | Text]


def plan_view(plan: Plan, width: int) -> Group:
    """Show a plan: what was asked, classes by layers with ranks, totals, certificate."""
    ranks = [] if _layout(plan, width) != "depth" else [("ranks", _server_ranks(plan))]
    return Group(
        _heading(plan),
        plan_table(plan, width),
        _summary(
            [
                *ranks,
                *_links(plan),
                *_totals(plan),
                *_caches(plan),
                *_certificate(plan),
                *_kept(plan),
            ]
        ),
    )


def plan_table(plan: Plan, width: int) -> Table:
    """One row per device class and configuration: ranks, predicted costs, what binds.

    A fleet of a few devices is shown device by device: classes would hide who is who.
    Where a grid of layers does not fit `width`, equal ranks are written as '8x4' (eight
    layers of rank 4); where all devices share ranks, just how many layers adapt.
    """
    layers, layout = plan.model.layers, _layout(plan, width)
    header = {
        "grid": " ".join(f"{i + 1:>2}" for i in range(layers)),
        "depth": "layers",
        "runs": "ranks, input to output",
    }[layout]
    # A grid has room to spare; elsewhere one space between columns has to do.
    padding = (0, 1) if layout == "grid" else (0, 0)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=padding)
    table.add_column("", justify="right")
    few = len(plan.devices) <= _FEW
    table.add_column("device" if few else "class", overflow="fold")
    justify: Literal["right", "left"] = "right" if layout == "depth" else "left"
    table.add_column(header, no_wrap=layout == "grid", justify=justify)
    shown = _COSTS if width >= _NARROW else _COSTS[:2]
    for name in shown:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("what binds")
    above = ""
    for (label, index), devices in _each(plan) if few else _groups(plan):
        configuration = None if index is None else plan.configurations[index]
        table.add_row(
            f"{sum(d.count for d in devices)}",
            "" if label == above else label,
            _ranks(configuration, layout),
            *_costs(devices)[: len(shown)],
            _binding(devices),
        )
        above = label
    return table


def _each(plan: Plan) -> list[Members]:
    return [((d.name, d.configuration), [d]) for d in plan.devices]


def _groups(plan: Plan) -> list[Members]:
    def key(device: PlannedDevice) -> tuple[str, int]:
        return device.device_class, -1 if device.configuration is None else device.configuration

    ordered = sorted(plan.devices, key=key)
    return [
        ((name, None if index < 0 else index), list(devices))
        for (name, index), devices in groupby(ordered, key)
    ]


def _layout(plan: Plan, width: int) -> Layout:
    """How ranks are shown in so many characters."""
    if _BESIDE + _CELL * plan.model.layers <= width:
        return "grid"
    return "depth" if plan.question.structure == "shared" else "runs"


def _ranks(configuration: Configuration | None, layout: Layout) -> Text:
    if configuration is None:
        return Text("left out", style="dim")
    if layout == "depth":
        return Text(str(configuration.depth))
    if layout == "runs":
        return Text(_runs(configuration.ranks))
    cells = [
        Text(f"{rank or '·':>2}", style="bold cyan" if rank else "dim")
        for rank in configuration.ranks
    ]
    return Text(" ").join(cells)


def _runs(ranks: Sequence[int]) -> str:
    """Equal ranks together: '4x· 8x16' is four bare layers and eight of rank 16."""
    runs = [(rank, len(list(run))) for rank, run in groupby(ranks)]
    return " ".join(f"{n}x{rank or '·'}" for rank, n in runs)


def _server_ranks(plan: Plan) -> str:
    return f"{_runs(plan.ranks)}, input to output; a device adapts the last layers of these"


def _costs(devices: Sequence[PlannedDevice]) -> list[str]:
    predicted = [d.predicted for d in devices if d.predicted is not None]
    if not predicted:
        return ["-"] * len(_COSTS)
    return [
        _span([p.time_s for p in predicted]),
        _span([p.wait_s for p in predicted]),
        friendly(max(p.memory_bytes for p in predicted), "bytes"),
        friendly(max(p.upload_bytes for p in predicted), "bytes"),
    ]


def _span(values: Sequence[float]) -> str:
    low, high = plain(min(values)), plain(max(values))
    return low if low == high else f"{low}-{high}"


def _binding(devices: Sequence[PlannedDevice]) -> str:
    counts: defaultdict[str, int] = defaultdict(int)
    for device in devices:
        counts[device.binding] += device.count
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(name if len(ordered) == 1 else f"{name} ({n})" for name, n in ordered)


def _heading(plan: Plan) -> Text:
    model, asked = plan.model, plan.question
    total = sum(d.count for d in plan.devices)
    return Text(
        f"{model.name}, {model.layers} layers, {total} devices · {question_text(asked)}",
        style="bold",
    )


def _summary(rows: Sequence[Row]) -> Table:
    """Lines with a word before each; a line too long for the terminal goes on below itself."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _totals(plan: Plan) -> list[Row]:
    p = plan.predicted
    spread = f" ± {p.time_error_fraction:.0%}" if p.time_error_fraction else ""
    return [
        (
            "round",
            f"{plain(p.round_time_s, 4)} s{spread} · mean wait {plain(p.mean_wait_s)} s · "
            f"upload {friendly(p.upload_bytes, 'bytes')}{_energy(plan)} in all",
        ),
        ("utility", f"{p.utility:.5f}"),
        *_local_steps(plan),
    ]


def _energy(plan: Plan) -> str:
    """Energy of a round, and of how many devices where not all of their draws are known."""
    total = plan.predicted.energy_j
    if not total:
        return ""
    counts = [(d.count, d.predicted.energy_j) for d in plan.devices if d.predicted is not None]
    known, everybody = sum(n for n, energy_j in counts if energy_j), sum(n for n, _ in counts)
    some = "" if known == everybody else f" (draw of {known} of {everybody} devices known)"
    return f", energy {friendly(total, 'J')}{some}"


def _local_steps(plan: Plan) -> list[Row]:
    """Local steps of who takes part, where some may take more than their own."""
    if plan.question.fill_wait == 1:
        return []
    parts = [(d.local_steps, d.count) for d in plan.devices if d.configuration is not None]
    low, high = min(parts)[0], max(parts)[0]
    mean = sum(steps * count for steps, count in parts) / sum(count for _, count in parts)
    return [("steps", f"{low} to {high} a round, {mean:.3g} on average")]


def _caches(plan: Plan) -> list[Row]:
    """How many devices keep what, where caches are asked for."""
    if plan.question.cache == "off":
        return []
    counts = {
        kind: sum(d.count for d in plan.devices if d.cache == kind)
        for kind in ("always", "round", "off")
    }
    parts = [d.predicted for d in plan.devices if d.predicted is not None]
    stored = max((p.storage_bytes for p in parts), default=0.0)
    build_s = max((p.cache_build_s for p in parts), default=0.0)
    first = (
        f", filled once in up to {plain(build_s)} s before the first round" if build_s else ""
    )
    said = ", ".join(f"{kind} {n}" for kind, n in counts.items() if n)
    return [("caches", f"{said}; up to {friendly(stored, 'bytes')} stored{first}")]


def _links(plan: Plan) -> list[Row]:
    """Shared links that take all of the round time, or the busiest."""
    if not plan.links:
        return []
    limit_s = plan.question.budgets.round_time_s or plan.predicted.round_time_s
    busy = {link.name: link.busy_s for link in plan.links}
    full = at_limit(busy, limit_s)
    if not full:
        name = max(busy, key=lambda each: busy[each])
        return [("links", f"none binds; the busiest, {name}, takes {plain(busy[name], 4)} s")]
    shown = ", ".join(f"{name} {plain(busy[name], 4)} s" for name in full[:_LINKS])
    more = f" and {len(full) - _LINKS} more" if len(full) > _LINKS else ""
    return [("links", f"{len(full)} of {len(busy)} shared links bind: {shown}{more}")]


def _certificate(plan: Plan) -> list[Row]:
    c = plan.certificate
    style = "green" if c.status == "optimal" else "yellow"
    proof = "nothing; no bound"
    if c.bound is not None and c.gap_fraction is not None:
        value = _VALUES.get(plan.question.objective, "value")
        proof = f"{value} {c.value:.6g}, bound {c.bound:.6g}, gap {c.gap_fraction:.3%}"
    status = c.status.replace("_", " ")
    return [("proof", Text(f"{status}: {proof}", style=style)), ("method", c.method)]


def _kept(plan: Plan) -> list[Row]:
    """What was done with the earlier plan, and why, in one line."""
    kept = plan.kept
    if kept is UNSET:
        return []
    said = f"the earlier ranks and depths {kept.reason}"
    if kept.decision == "new":
        return [("new plan", said)]
    counts = [
        (kept.same, "as before"), (kept.less, "with less"), (kept.added, "new"),
        (kept.gone, "gone"),
    ]  # fmt: skip
    devices = ", ".join(f"{n} {words}" for n, words in counts if n)
    return [("kept", f"{said}; devices: {devices}")]
