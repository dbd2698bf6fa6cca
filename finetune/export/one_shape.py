"""Federated frameworks whose server averages equal shapes: FATE-LLM and FederatedScope-LLM.

Both hand a dictionary to `peft.LoraConfig`, so ranks by layer are kept; but every site trains
the same shape. Of a plan with several, that is the *common part*: the layers that every device
adapts, each at the smallest rank it has on any. Every device can carry it.
"""

from finetune.export.causal import require_causal
from finetune.export.files import Export, json_bytes, yaml_bytes
from finetune.export.peft import left_out_notes, lora_config
from solver.plan import Configuration, InputError, Plan, PlannedDevice

__all__ = ["common_part", "render_fate", "render_fs_llm"]


def render_fate(plan: Plan) -> Export:
    """Write ``fate.json``: the arguments of a FATE-LLM model (``PELLM``), as of 2.2."""
    shape = common_part(plan, "FATE-LLM")
    said_elsewhere = ("peft_type", "base_model_name_or_path")
    config = {k: v for k, v in lora_config(plan, shape).items() if k not in said_elsewhere}
    settings = {
        "model": {
            "pretrained_path": plan.model.name,
            "peft_type": "LoraConfig",
            "peft_config": config,
        },
        "training_args": {
            "per_device_train_batch_size": plan.training.batch_size,
            "max_steps": _steps(plan),
        },
    }
    note = "pass 'model' to fate_llm's PELLM (or Bert, LLaMa ...) and add the data"
    return Export(
        files={"fate.json": json_bytes(settings)},
        notes=[note, *left_out_notes(plan)],
        losses=_losses(plan, shape, "FATE-LLM"),
    )


def render_fs_llm(plan: Plan) -> Export:
    """Write ``fs-llm.yaml`` for FederatedScope-LLM; `plan` must be for a causal model."""
    require_causal(plan, "FederatedScope-LLM")
    shape = common_part(plan, "FederatedScope-LLM")
    fields = plan.lora.peft_fields(plan.model, shape.ranks)
    adapter = {"adapter_package": "peft", "adapter_method": "lora", "lora_dropout": 0.0}
    settings: dict[str, object] = {
        "federate": {"client_num": sum(d.count for d in _trained(plan))},
        "model": {"type": f"{plan.model.name}@huggingface_llm"},
        "llm": {
            "tok_len": plan.training.sequence_length,
            "adapter": {"use": True, "args": [{**adapter, **fields}]},
        },
        "dataloader": {"batch_size": plan.training.batch_size},
        "train": {"batch_or_epoch": "batch", "local_update_steps": _steps(plan)},
        "trainer": {"type": "llmtrainer"},
    }
    comment = "Add: data, train.optimizer, federate.total_round_num."
    return Export(
        files={"fs-llm.yaml": yaml_bytes(settings, comment)},
        notes=[
            "needs a FederatedScope whose adapter builder hands all arguments to "
            "peft.LoraConfig (not checked here); others take the rank alone",
            *left_out_notes(plan),
        ],
        losses=_losses(plan, shape, "FederatedScope-LLM"),
    )


def common_part(plan: Plan, tool: str) -> Configuration:
    """Shape that every device which takes part can train; raises `InputError` for none."""
    used = [c for d in plan.devices if (c := plan.configuration_of(d))]
    ranks = [min(column) for column in zip(*(c.ranks for c in used), strict=True)]
    depth = sum(rank > 0 for rank in ranks)
    if not depth:
        raise InputError(
            f"{tool} trains one shape on all sites, and some device of the plan adapts no "
            "layer; plan with a least depth of 1"
        )
    return Configuration(depth=depth, ranks=ranks)


def _losses(plan: Plan, shape: Configuration, tool: str) -> list[str]:
    shapes = {tuple(c.ranks): c for d in _trained(plan) if (c := plan.configuration_of(d))}
    losses = []
    if len(shapes) > 1:
        deepest = max(c.depth for c in shapes.values())
        losses.append(
            f"{tool} averages equal shapes only: the plan's {len(shapes)} shapes (depth up to "
            f"{deepest}) become their common part, depth {shape.depth}"
        )
    if len({d.local_steps for d in _trained(plan)}) > 1:
        losses.append(f"{tool} gives all sites the same local steps: {_steps(plan)}")
    return losses


def _trained(plan: Plan) -> list[PlannedDevice]:
    return [d for d in plan.devices if d.configuration is not None]


def _steps(plan: Plan) -> int:
    return min(d.local_steps for d in _trained(plan))
