"""A comparison of policies as a table that fits 120 columns, remarks below it."""

from collections.abc import Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from solver.compare import Row
from solver.show.figures import friendly, plain

_COLUMNS = (
    "utility",
    "gap",
    "round s",
    "wait s",
    "upload",
    "download",
    "memory",
    "energy",
    "left out",
)


# What a terminal narrower than the whole table does without.
_WIDE_ONLY = {"download", "memory", "energy"}
WIDE = 112


def comparison_view(rows: Sequence[Row], width: int) -> Group:
    """Policies side by side; upload, download and energy of all devices, peak memory of one.

    Columns that do not fit into `width` characters are left out, not cut.
    """
    kept = [i for i, name in enumerate(_COLUMNS) if width >= WIDE or name not in _WIDE_ONLY]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("policy", no_wrap=True)
    for i in kept:
        table.add_column(_COLUMNS[i], justify="right", no_wrap=True)
    for row in rows:
        style = "dim" if row.plan is None else ""
        cells = _cells(row)
        table.add_row(row.policy, *(cells[i] for i in kept), style=style)
    remarks = [Text(f"{row.policy}: {row.reason}") for row in rows if row.reason]
    note = Text(
        "gap: to the bound on ranks of its own for every device; upload, download and energy "
        "of all devices a round; memory: largest peak of a device"
        + ("" if width >= WIDE else "; a wider terminal or --json shows all columns"),
        style="dim",
    )
    return Group(table, *remarks, note)


def _cells(row: Row) -> list[str]:
    if row.plan is None:
        return ["-"] * len(_COLUMNS)
    predicted = row.plan.predicted
    return [
        f"{predicted.utility:.5f}",
        "-" if row.gap_fraction is None else f"{row.gap_fraction:.2%}",
        plain(predicted.round_time_s, 4),
        plain(predicted.mean_wait_s),
        friendly(predicted.upload_bytes, "bytes"),
        friendly(predicted.download_bytes, "bytes"),
        friendly(row.memory_bytes or 0.0, "bytes"),
        friendly(predicted.energy_j, "J", 3) if predicted.energy_j else "-",
        str(row.left_out),
    ]
