"""A plan as configurations of MLX's ``mlx_lm.lora``, one a shape; all layers have one rank.

Written from the source of mlx-lm and not run, which takes Apple's chips. Its ``num_layers``
counts from the output, as depths do, its ``keys`` are names below a layer, and its ``scale`` is
alpha / rank. Ranks that differ between layers become one: the largest at which the adapter is
no larger than planned. It loads the base as it is: a base in 4 bits is one that was converted.
"""

from dataclasses import replace

from finetune.export.causal import (
    one_rank,
    ranks_lost,
    require_causal,
    shape_files,
    steps_of,
)
from finetune.export.files import Export
from solver.plan import Configuration, Plan

__all__ = ["render"]


def render(plan: Plan) -> Export:
    """Write ``configuration-N/mlx.yaml`` for each shape, and ``devices.json``.

    Raises
    ------
    InputError
        If the plan is not for a causal language model.
    """
    require_causal(plan, "MLX")
    # None of its own would be all layers: it takes the last -0.
    shapes = {i: shape for i, shape in enumerate(plan.configurations) if shape.depth}
    settings = {i: {**_settings(plan, s), **_iterations(plan, i)} for i, s in shapes.items()}
    export = shape_files(plan, "mlx", settings, "data, adapter_path and learning_rate")
    losses = [loss for shape in shapes.values() for loss in ranks_lost(plan, shape, "MLX")]
    return replace(export, losses=losses[:1])


def _iterations(plan: Plan, index: int) -> dict[str, object]:
    """``iters``, where all devices of a shape take as many; else devices.json says them."""
    steps = steps_of(plan, index)
    return {"iters": steps["max_steps"]} if steps else {}


def _settings(plan: Plan, shape: Configuration) -> dict[str, object]:
    training = plan.training
    return {
        "model": plan.model.name,
        "train": True,
        "fine_tune_type": "lora",
        "num_layers": shape.depth,
        "lora_parameters": {
            "keys": [target.name for target in plan.model.targets],
            "rank": one_rank(plan, shape),
            "scale": plan.lora.scaling,
            "dropout": 0.0,
        },
        "max_seq_length": training.sequence_length,
        "batch_size": training.batch_size,
        "optimizer": training.optimizer,
        "grad_checkpoint": training.gradient_checkpointing,
    }
