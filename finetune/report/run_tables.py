"""Tables of the runs beside a plan."""

from collections.abc import Sequence

from finetune.report.runs import Reached, Run, reached, targets
from finetune.report.tables import Table
from finetune.report.words import amount, printable, seconds

__all__ = ["points_table", "runs_table", "targets_table"]

MOST_POINTS = 200


def runs_table(runs: Sequence[Run]) -> Table:
    """Sum up each run."""
    lines = []
    for run in runs:
        last = run.rounds[-1]
        final = f"{100 * run.points[-1].accuracy:.1f} %" if run.points else "–"
        best = max((p.accuracy for p in run.points), default=None)
        lines.append(
            [
                printable(run.label),
                str(len(run.rounds)),
                final,
                "–" if best is None else f"{100 * best:.1f} %",
                seconds(last.virtual_time_s),
                seconds(sum(r.mean_wait_s for r in run.rounds) / len(run.rounds)),
                amount(last.upload_bytes),
                amount(last.download_bytes),
                str(sum(len(r.refused) for r in run.rounds)),
            ]
        )
    columns = ["run", "rounds", "last accuracy", "best accuracy", "virtual time", "mean wait"]
    return Table(
        caption="Runs as a whole",
        columns=[*columns, "uploaded", "downloaded", "updates refused"],
        lines=lines,
    )


def targets_table(runs: Sequence[Run]) -> Table:
    """When each run reached which accuracy, at what cost, against the best of its column."""
    lines = []
    for accuracy in targets(runs):
        hits = [reached(run, accuracy) for run in runs]
        least_s = min((hit.time_s for hit in hits if hit), default=0.0)
        least_bytes = min((hit.upload_bytes for hit in hits if hit), default=0.0)
        line = [f"{100 * accuracy:.0f} %"]
        for hit in hits:
            line += _cells(hit, least_s, least_bytes)
        lines.append(line)
    columns = ["accuracy"]
    for run in runs:
        label = printable(run.label, 40)
        columns += [f"{label}: time", f"{label}: uploaded"]
    return Table(
        caption="What it took to reach an accuracy, and how many times the least of all runs",
        columns=columns,
        lines=lines,
    )


def _cells(hit: Reached | None, least_s: float, least_bytes: float) -> list[str]:
    if hit is None:
        return ["not reached", "–"]
    return [
        seconds(hit.time_s) + _times(hit.time_s, least_s),
        amount(hit.upload_bytes) + _times(hit.upload_bytes, least_bytes),
    ]


def _times(value: float, least: float) -> str:
    return f" ({value / least:.2f}×)" if least > 0 else ""


def points_table(runs: Sequence[Run]) -> Table:
    """Tabulate the learning curves, thinned out where a run has very many evaluations."""
    lines = []
    for run in runs:
        step = -(-len(run.points) // MOST_POINTS) or 1
        lines += [
            [
                printable(run.label),
                seconds(point.time_s),
                amount(point.upload_bytes),
                f"{100 * point.accuracy:.2f} %",
                f"{100 * point.smooth:.2f} %",
            ]
            for point in run.points[::step]
        ]
    return Table(
        caption="Evaluations of each run",
        columns=["run", "virtual time", "uploaded", "accuracy", "mean of three"],
        lines=lines,
    )
