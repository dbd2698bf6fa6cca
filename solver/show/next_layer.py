"""What devices lack for their next layer, as a table that people read."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from solver.next_layer import NextLayer
from solver.show.figures import friendly

# Devices that are shown one by one and not by class.
FEW = 12
# Field, unit, and what it is more of.
_KINDS = (
    ("round_time_s", "s", "of round time"),
    ("own_time_s", "s", "of own time"),
    ("memory_bytes", "bytes", "of memory"),
    ("upload_bytes", "bytes", "of upload"),
    ("download_bytes", "bytes", "of download"),
    ("energy_j", "J", "of energy"),
    ("mean_wait_s", "s", "of mean wait"),
    ("rank_budget", "ranks", "in the budget"),
    ("max_depth", "layers", "of greatest depth"),
)
_NOTE = (
    "At the plan's own ranks, one device, or several alike, at a time. With that it can train "
    "the layer; a plan made anew may use it otherwise. What one more unit is worth then: "
    "legend solve --prices."
)


def next_layer_view(lacks: Sequence[NextLayer], devices: int) -> Group:
    """One row a device, or a class and depth where there are many.

    Parameters
    ----------
    lacks : sequence of NextLayer
    devices : int
        Rows of the plan that they are of.
    """
    few = devices <= FEW
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", justify="right")
    table.add_column("device" if few else "class", overflow="fold")
    table.add_column("layers then", justify="right")
    table.add_column("lacks for it")

    def key(each: NextLayer) -> tuple[str, int]:
        return each.device if few else each.device_class, each.depth

    for (name, depth), alike in groupby(lacks if few else sorted(lacks, key=key), key):
        group = list(alike)
        table.add_row(str(sum(e.count for e in group)), name, str(depth), _said(group))
    return Group(table, Text(_NOTE, style="dim"))


def _said(group: Sequence[NextLayer]) -> str:
    """All that some of these devices lack, and how many do where not all of them."""
    found = []
    for field, unit, words in _KINDS:
        short = [each for each in group if getattr(each, field) > 0]
        if short:
            said = f"{_span([getattr(e, field) for e in short], unit)} {words}"
            # One uplink does for both, and is said once.
            late = [e for e in short if field == "round_time_s" or not e.round_time_s]
            said += _faster(late) if unit == "s" and field != "mean_wait_s" else ""
            found.append(said + _count(short, group))
    return ", ".join(found) or f"nothing ({', '.join(sorted({e.binding for e in group}))})"


def _faster(short: Sequence[NextLayer]) -> str:
    """The uplink that would do in place of a longer round, where there is one."""
    able = [e for e in short if e.uplink_bytes_per_s is not None]
    mbits = [e.uplink_bytes_per_s * 8e-6 for e in able if e.uplink_bytes_per_s]
    return f" or {_span(mbits, 'Mb/s')} of uplink{_count(able, short)}" if mbits else ""


def _count(some: Sequence[NextLayer], every: Sequence[NextLayer]) -> str:
    heads = sum(e.count for e in some)
    return "" if len(some) == len(every) else f" ({heads})"


def _span(values: Sequence[float], unit: str) -> str:
    low, high = (friendly(_up(v), unit, 3) for v in (min(values), max(values)))
    if low == high:
        return low
    number, _, own = low.partition(" ")
    return f"{number if high.endswith(f' {own}') else low} to {high}"


def _up(value: float) -> float:
    """Three digits that are enough."""
    step = 10.0 ** (np.floor(np.log10(value)) - 2)
    return float(np.ceil(value / step * (1 - 1e-12)) * step)
