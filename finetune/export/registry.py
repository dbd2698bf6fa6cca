"""The targets of ``legend export``, loaded when asked for."""

from collections.abc import Callable
from pathlib import Path

from finetune.export.files import Export
from solver.plan import Plan

__all__ = ["ADAPTER_TARGETS", "TARGETS", "Render", "RenderAdapter"]

Render = Callable[[Plan], Export]
RenderAdapter = Callable[[Path], Export]


def _peft(plan: Plan) -> Export:
    from finetune.export.peft import render

    return render(plan)


def _nvflare(plan: Plan) -> Export:
    from finetune.export.nvflare import render

    return render(plan)


def _axolotl(plan: Plan) -> Export:
    from finetune.export.axolotl import render

    return render(plan)


def _llama_factory(plan: Plan) -> Export:
    from finetune.export.llama_factory import render

    return render(plan)


def _mlx(plan: Plan) -> Export:
    from finetune.export.mlx import render

    return render(plan)


def _fate(plan: Plan) -> Export:
    from finetune.export.one_shape import render_fate

    return render_fate(plan)


def _fs_llm(plan: Plan) -> Export:
    from finetune.export.one_shape import render_fs_llm

    return render_fs_llm(plan)


def _flower(plan: Plan) -> Export:
    from finetune.export.flower import render

    return render(plan)


def _csv(plan: Plan) -> Export:
    from finetune.export.csv import render

    return render(plan)


def _parquet(plan: Plan) -> Export:
    from finetune.export.parquet import render

    return render(plan)


def _vllm(adapter: Path) -> Export:
    from finetune.export.vllm import render_adapter

    return render_adapter(adapter)


TARGETS: dict[str, Render] = {
    "peft": _peft,
    "flower": _flower,
    "nvflare": _nvflare,
    "axolotl": _axolotl,
    "llama-factory": _llama_factory,
    "mlx": _mlx,
    "fate": _fate,
    "fs-llm": _fs_llm,
    "csv": _csv,
    "parquet": _parquet,
}
"""What each target turns a plan into, by the name given to ``--to``."""

ADAPTER_TARGETS: dict[str, RenderAdapter] = {"vllm": _vllm}
"""What each target turns the folder of a run, or of an adapter, into."""
