"""A check as people read it."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from profiler.check.result import QUANTITIES, Case, CheckReport
from profiler.predict import depth_of

MB = 1e6
# More ranks than this are abridged.
MOST_RANKS = 6
# Columns of a table that goes into a file.
WIDE = 140


def show_check(report: CheckReport) -> None:
    """Print a row per configuration, and the errors of every quantity below."""
    width = None if sys.stdout.isatty() else WIDE
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    console.print(
        f"{report.model} on {report.device}: {len(report.cases)} configurations that no fit "
        "has seen, run here",
        soft_wrap=True,
    )
    console.print(_cases(report.cases))
    console.print(_errors(report))
    scales = " and ".join(f"{scale:.3f}" for scale in report.scales)
    console.print(
        f"noise floor of measured times {report.noise_fraction:.2%}; the scalar is {scales} "
        "from either half, and judged on the other",
        soft_wrap=True,
    )
    for note in report.notes:
        console.print(f"note: {note}", soft_wrap=True)


def ranks_text(ranks: Sequence[int]) -> str:
    """Depth and ranks of the adapted layers, ``3: 8 8 16``; the middle of many is left out."""
    depth = depth_of(ranks)
    adapted = [str(rank) for rank in ranks if rank]
    if len(set(adapted)) == 1:
        return f"{depth}: {adapted[0]}" + (" each" if depth > 1 else "")
    if depth > MOST_RANKS:
        adapted = [*adapted[:3], "…", *adapted[-2:]]
    return f"{depth}: {' '.join(adapted)}"


def _cases(cases: Sequence[Case]) -> Table:
    table = Table()
    table.add_column("depth: ranks")
    for title in (
        "step ms",
        "predicted",
        "error",
        "after scalar",
        "noise",
        "tensors MB",
        "error",
        "growth MB",
        "error",
    ):
        table.add_column(title, justify="right")
    for case in cases:
        errors = {name: q.error_fraction(case) for name, q in QUANTITIES.items()}
        table.add_row(
            ranks_text(case.ranks),
            f"{case.measured_s * 1e3:.1f}",
            f"{case.predicted_s * 1e3:.1f}",
            f"{errors['time']:+.2%}",
            f"{errors['time_rescaled']:+.2%}",
            f"{case.noise_fraction:.2%}",
            f"{case.exact_bytes / MB:.1f}",
            f"{errors['tensors']:+.3%}",
            f"{(case.resident_bytes - case.libraries_bytes) / MB:.1f}",
            f"{errors['growth']:+.2%}",
        )
    return table


def _errors(report: CheckReport) -> Table:
    table = Table()
    table.add_column("predicted")
    table.add_column("mean error", justify="right")
    table.add_column("worst", justify="right")
    for name, quantity in QUANTITIES.items():
        summary = report.summary(name)
        table.add_row(
            quantity.title, f"{summary.mape_fraction:.3%}", f"{summary.worst_fraction:.3%}"
        )
    return table
