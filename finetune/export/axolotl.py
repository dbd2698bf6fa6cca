"""A plan as axolotl's YAML files, one a shape, with every layer's own rank.

Written for axolotl 0.19, whose ``lora_rank_pattern`` and ``lora_alpha_pattern`` go to
`peft.LoraConfig` as they are. Both hold whole numbers there.
"""

from dataclasses import replace

from finetune.export.causal import (
    precision,
    require_causal,
    shape_files,
    steps_of,
    whole_alpha,
)
from finetune.export.files import Export
from finetune.export.peft import CONV1D_FAMILIES
from solver.plan import Configuration, Plan

__all__ = ["render"]


def render(plan: Plan) -> Export:
    """Write ``configuration-N/axolotl.yaml`` for each shape, and ``devices.json``.

    Raises
    ------
    InputError
        If the plan is not for a causal language model.
    """
    require_causal(plan, "axolotl")
    settings = {
        index: {**_settings(plan, shape), **steps_of(plan, index)}
        for index, shape in enumerate(plan.configurations)
        if shape.depth
    }
    export = shape_files(plan, "axolotl", settings, "datasets, learning_rate and output_dir")
    ranks = {rank for shape in plan.configurations for rank in shape.ranks if rank}
    odd = sorted(rank for rank in ranks if not whole_alpha(plan, rank)[1])
    losses = [
        f"axolotl takes whole alphas only: alpha {plan.lora.scaling * r:g} of rank {r} becomes "
        f"{whole_alpha(plan, r)[0]}, so the LoRA scale differs between layers"
        for r in odd[:1]
    ]
    return replace(export, losses=losses)


def _settings(plan: Plan, shape: Configuration) -> dict[str, object]:
    training = plan.training
    quantised = training.base_dtype != "same"
    fields = plan.lora.peft_fields(plan.model, shape.ranks)
    ranks: dict[str, int] = fields["rank_pattern"]  # type: ignore[assignment]
    return {
        "base_model": plan.model.name,
        # Its defaults are nf4 and constants quantised again, as planned.
        **({"adapter": "qlora", "load_in_4bit": True} if quantised else {"adapter": "lora"}),
        "lora_r": fields["r"],
        "lora_alpha": whole_alpha(plan, max(shape.ranks))[0],
        "lora_dropout": 0.0,
        "lora_fan_in_fan_out": plan.model.family in CONV1D_FAMILIES,
        "lora_target_modules": fields["target_modules"],
        "lora_rank_pattern": ranks,
        "lora_alpha_pattern": {name: whole_alpha(plan, r)[0] for name, r in ranks.items()},
        "sequence_len": training.sequence_length,
        "micro_batch_size": training.batch_size,
        "gradient_accumulation_steps": 1,
        "optimizer": {"adamw": "adamw_torch", "sgd": "sgd"}[training.optimizer],
        "gradient_checkpointing": training.gradient_checkpointing,
        **precision(plan),
    }
