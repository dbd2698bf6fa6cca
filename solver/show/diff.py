"""What changed between two plans, as people read it."""

from collections.abc import Callable, Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from solver.diff import KINDS, ClassChange, PlanDiff
from solver.show.figures import friendly, plain

# Field of a prediction, what it is called here, and its unit.
_FIGURES = (
    ("utility", "utility", ""),
    ("round_time_s", "round time", "s"),
    ("mean_wait_s", "mean wait", "s"),
    ("upload_bytes", "upload", "bytes"),
    ("download_bytes", "download", "bytes"),
    ("energy_j", "energy", "J"),
)
_ARROW = "→"
_MEANS = ("layers", "upload of one")
# Characters that a class's name has, and what the table with all its columns takes.
_NAME, WIDE = 12, 112


def diff_view(diff: PlanDiff, width: int) -> Group:
    """Figures of the round, what was asked otherwise, ranks, and what became of classes.

    Columns that do not fit into `width` characters are left out, not cut.
    """
    parts: list[RenderableType] = [_figures(diff)]
    parts += [Text(line) for line in (*_asked(diff), *_ranks(diff))]
    return Group(*parts, _classes(diff, width), Text(_legend(diff, width), style="dim"))


def _figures(diff: PlanDiff) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("a round")
    for name in ("then", "now", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    for field, name, unit in _FIGURES:
        then, now = diff.predicted_then[field], diff.predicted_now[field]
        if then or now:
            shown = [friendly(v, unit) if unit else f"{v:.5f}" for v in (then, now)]
            table.add_row(name, *shown, f"{now / then - 1:+.2%}" if then else "-")
    return table


def _asked(diff: PlanDiff) -> Iterator[str]:
    for each in diff.asked:
        then, now = (_said(each.field, value) for value in (each.then, each.now))
        yield f"asked otherwise: {each.field}: {then} {_ARROW} {now}"


def _said(field: str, value: object) -> str:
    if isinstance(value, list):
        shown = ", ".join(map(str, value[:3]))
        return f"{len(value)} values ({shown}, ...)" if len(value) > 3 else shown
    if field.endswith("_bytes") and isinstance(value, int | float):
        return friendly(value, "bytes")
    return "none" if value is None else str(value)


def _ranks(diff: PlanDiff) -> Iterator[str]:
    pairs = enumerate(zip(diff.ranks_then, diff.ranks_now, strict=True), start=1)
    said = [f"layer {layer}: {a} {_ARROW} {b}" for layer, (a, b) in pairs if a != b]
    yield f"server's ranks: {', '.join(said) or 'the same'}"


def _classes(diff: PlanDiff, width: int) -> Table:
    kinds = [k for k in KINDS if any(k in each.kinds for each in diff.classes)]
    means = _MEANS if width >= WIDE else ()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1) if means else (0, 0))
    table.add_column("class", overflow="fold", min_width=_NAME)
    for name in (*kinds, *means):
        table.add_column(name, justify="right", no_wrap=True)
    for each in diff.classes:
        counts = [str(each.kinds.get(kind, "")) for kind in kinds]
        table.add_row(each.device_class, *counts, *(_means(each) if means else ()))
    if len(diff.classes) > 1:
        sums = [str(sum(c.kinds.get(kind, 0) for c in diff.classes)) for kind in kinds]
        table.add_section()
        table.add_row("all", *sums, *("" for _ in means))
    return table


def _means(each: ClassChange) -> tuple[str, str]:
    depths = [_or_none(d, plain) for d in (each.depth_then, each.depth_now)]
    uploads = [
        _or_none(u, lambda value: friendly(value, "bytes"))
        for u in (each.upload_bytes_then, each.upload_bytes_now)
    ]
    return _pair(depths), _pair(uploads)


def _or_none(value: float | None, shown: Callable[[float], str]) -> str:
    return "-" if value is None else shown(value)


def _pair(values: list[str]) -> str:
    return values[0] if values[0] == values[1] else f" {_ARROW} ".join(values)


def _legend(diff: PlanDiff, width: int) -> str:
    seen = [k for k in KINDS if any(k in each.kinds for each in diff.classes)]
    words = "; ".join(f"{kind}: {KINDS[kind]}" for kind in seen if kind != "same")
    means = (
        "layers, upload: means over who takes part"
        if width >= WIDE
        else "a wider terminal or --json shows all columns"
    )
    return "; ".join(filter(None, (words, means)))
