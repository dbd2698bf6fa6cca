"""A plan as LLaMA-Factory's YAML files, one a shape; it knows one rank for all layers.

Written for LLaMA-Factory 0.9. The depth is kept, as ``lora_target`` may name every module in
full. Ranks that differ between layers become one: the largest at which the adapter is no
larger than planned, so uploads stay within the plan.
"""

from dataclasses import replace

from finetune.export.causal import (
    one_rank,
    precision,
    ranks_lost,
    require_causal,
    shape_files,
    steps_of,
    whole_alpha,
)
from finetune.export.files import Export
from solver.plan import Configuration, Plan

__all__ = ["render"]

FOUR_BITS: dict[str, object] = {
    "quantization_method": "bitsandbytes",
    "quantization_bit": 4,
    "quantization_type": "nf4",
    "double_quantization": True,
}
"""Settings of a base in nf4; a plan knows no other but the compute type."""


def render(plan: Plan) -> Export:
    """Write ``configuration-N/llama-factory.yaml`` for each shape, and ``devices.json``.

    Raises
    ------
    InputError
        If the plan is not for a causal language model.
    """
    require_causal(plan, "LLaMA-Factory")
    shapes = {i: shape for i, shape in enumerate(plan.configurations) if shape.depth}
    settings = {i: {**_settings(plan, s), **steps_of(plan, i)} for i, s in shapes.items()}
    export = shape_files(
        plan, "llama-factory", settings, "dataset, template, learning_rate and output_dir"
    )
    losses = [loss for shape in shapes.values() for loss in _loss(plan, shape)]
    return replace(export, losses=losses[:1])


def _loss(plan: Plan, shape: Configuration) -> list[str]:
    if lost := ranks_lost(plan, shape, "LLaMA-Factory"):
        return lost
    rank = one_rank(plan, shape)
    alpha, is_whole = whole_alpha(plan, rank)
    if not is_whole:
        return [
            f"LLaMA-Factory takes a whole alpha only: {plan.lora.scaling * rank:g} of rank "
            f"{rank} becomes {alpha}"
        ]
    return []


def _settings(plan: Plan, shape: Configuration) -> dict[str, object]:
    training, rank = plan.training, one_rank(plan, shape)
    targets = plan.lora.peft_fields(plan.model, shape.ranks)["target_modules"]
    return {
        "model_name_or_path": plan.model.name,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        **(FOUR_BITS if training.base_dtype != "same" else {}),
        "lora_rank": rank,
        "lora_alpha": whole_alpha(plan, rank)[0],
        "lora_dropout": 0.0,
        "lora_target": ",".join(targets),  # type: ignore[arg-type]
        "cutoff_len": training.sequence_length,
        "per_device_train_batch_size": training.batch_size,
        "gradient_accumulation_steps": 1,
        "optim": {"adamw": "adamw_torch", "sgd": "sgd"}[training.optimizer],
        "disable_gradient_checkpointing": not training.gradient_checkpointing,
        **precision(plan),
    }
