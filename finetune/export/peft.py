"""A plan as PEFT configurations: one folder for each adapter shape.

``peft.LoraConfig.from_pretrained(folder)`` reads each of them. Written without PEFT or torch,
so a plan made on a laptop can be exported there.
"""

from finetune.export.files import Export, json_bytes
from solver.plan import Configuration, Plan, PlannedDevice

__all__ = [
    "CONV1D_FAMILIES",
    "device_index",
    "folder_names",
    "left_out_notes",
    "lora_config",
    "render",
]

TASK_TYPES = {"classification": "SEQ_CLS", "causal-lm": "CAUSAL_LM"}
CONV1D_FAMILIES = frozenset({"gpt2", "openai-gpt", "imagegpt", "decision_transformer"})
"""Families whose projections are transformers' Conv1D, which holds its weight transposed."""


def render(plan: Plan) -> Export:
    """Write ``configuration-N/adapter_config.json`` for each shape, and ``devices.json``."""
    folders = folder_names(plan)
    files = {
        f"{folder}/adapter_config.json": json_bytes(lora_config(plan, shape))
        for folder, shape in zip(folders, plan.configurations, strict=True)
        if folder
    }
    files["devices.json"] = device_index(plan)
    return Export(files=files, notes=left_out_notes(plan))


def lora_config(plan: Plan, shape: Configuration) -> dict[str, object]:
    """Fields of the ``peft.LoraConfig`` of an adapter shape of depth 1 or more."""
    fields = plan.lora.peft_fields(plan.model, shape.ranks)
    return {
        "peft_type": "LORA",
        "task_type": TASK_TYPES[plan.training.task],
        "base_model_name_or_path": plan.model.name,
        "inference_mode": False,
        **fields,
        "bias": "none",
        "lora_dropout": 0.0,
        "use_rslora": False,
        "init_lora_weights": True,
        "fan_in_fan_out": plan.model.family in CONV1D_FAMILIES,
        "modules_to_save": plan.model.head_modules or None,
    }


def folder_names(plan: Plan) -> list[str | None]:
    """Folder of each shape; None for the one that has no adapter."""
    return [
        f"configuration-{index}" if shape.depth else None
        for index, shape in enumerate(plan.configurations)
    ]


def device_index(plan: Plan) -> bytes:
    """Write ``devices.json``: which device trains which folder's adapter.

    The folder is null for a device that trains the head alone, or takes no part.
    """
    folders = folder_names(plan)
    shapes = [
        {"folder": folder, "depth": shape.depth, "ranks": shape.ranks}
        for folder, shape in zip(folders, plan.configurations, strict=True)
    ]
    return json_bytes(
        {
            "model": plan.model.name,
            "server_ranks": plan.ranks,
            "configurations": shapes,
            "devices": {d.name: _device(d, folders) for d in plan.devices},
        }
    )


def _device(device: PlannedDevice, folders: list[str | None]) -> dict[str, object]:
    index = device.configuration
    return {
        "device_class": device.device_class,
        "count": device.count,
        "configuration": index,
        "folder": None if index is None else folders[index],
        "local_steps": device.local_steps,
    }


def left_out_notes(plan: Plan) -> list[str]:
    """Say which devices no adapter folder serves."""
    groups = {
        "train the head only (depth 0): PEFT has no adapter without a layer, so no folder": [
            d for d in plan.devices if (c := plan.configuration_of(d)) and c.depth == 0
        ],
        "do not take part": [d for d in plan.devices if d.configuration is None],
    }
    return [
        f"{sum(d.count for d in devices)} devices {what}"
        for what, devices in groups.items()
        if devices
    ]
