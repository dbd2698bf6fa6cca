"""The targets of ``legend export``, loaded when asked for."""

from collections.abc import Callable

from finetune.export.files import Export
from solver.plan import Plan

__all__ = ["TARGETS", "Render"]

Render = Callable[[Plan], Export]


def _peft(plan: Plan) -> Export:
    from finetune.export.peft import render

    return render(plan)


def _csv(plan: Plan) -> Export:
    from finetune.export.csv import render

    return render(plan)


def _parquet(plan: Plan) -> Export:
    from finetune.export.parquet import render

    return render(plan)


def _flower(plan: Plan) -> Export:
    from finetune.export.flower import render

    return render(plan)


TARGETS: dict[str, Render] = {
    "peft": _peft,
    "flower": _flower,
    "csv": _csv,
    "parquet": _parquet,
}
"""What each target turns a plan into, by the name given to ``--to``."""
