"""What a run came to, for people."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from finetune.report.words import amount, seconds
from finetune.session.result import Summary

__all__ = ["show"]


def show(summary: Summary, out: Path) -> None:
    """Print what the run came to, on stderr."""
    table = Table(title=f"{summary.policy} ({summary.aggregation})", show_header=False)
    rows = {
        "rounds": f"{summary.rounds} (ended by {summary.stopped})",
        "test accuracy": f"{100 * summary.final_accuracy:.1f} % on {summary.test_examples}",
        **(
            {"test perplexity": f"{summary.final_perplexity:.2f}"}
            if summary.final_perplexity is not None
            else {}
        ),
        "best": f"{100 * summary.best_accuracy:.1f} %",
        "virtual time": seconds(summary.virtual_time_s),
        "mean wait a round": f"{summary.mean_wait_s:.2f} s",
        "uploaded": amount(summary.upload_bytes),
        "downloaded": amount(summary.download_bytes),
        "updates left out": _refused(summary),
        **({"new plans": str(summary.plans)} if summary.plans else {}),
        "aggregation error": "none accepted"
        if summary.mean_aggregation_error is None
        else f"{100 * summary.mean_aggregation_error:.2g} % of the averaged product",
        "adapter": str(out / "adapter"),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    # Paths and names are what they are, brackets and all.
    Console(stderr=True, markup=False, emoji=False).print(table)


def _refused(summary: Summary) -> str:
    """How many updates were refused, and why."""
    reasons = (f"{count} {kind}" for kind, count in summary.refused_by_kind.items())
    return f"{summary.refused} ({', '.join(reasons)})" if summary.refused else "0"
