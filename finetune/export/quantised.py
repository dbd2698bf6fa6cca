"""What targets make of a plan whose frozen base is in 4 bits."""

from dataclasses import replace

from finetune.export.files import Export
from solver.plan import Plan

__all__ = ["told_of_base"]

# Targets whose own code, or ours in their files, loads the base as it is.
LOAD_IT_WHOLE = ("flower", "nvflare", "mlx", "fate", "fs-llm")
HOW = (
    "BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type='nf4', "
    "bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.{dtype})"
)


def told_of_base(export: Export, plan: Plan, target: str) -> Export:
    """Say where the base's own type is lost, or is for a person to keep."""
    training = plan.training
    if training.base_dtype == "same":
        return export
    if target in LOAD_IT_WHOLE:
        lost = (
            f"{target} loads the base in full, and the plan counts on {training.base_dtype}: "
            "it takes more memory than planned"
        )
        return replace(export, losses=[*export.losses, lost])
    if target == "peft":
        note = f"the plan counts on a base loaded with {HOW.format(dtype=training.dtype)}"
        return replace(export, notes=[*export.notes, note])
    return export
