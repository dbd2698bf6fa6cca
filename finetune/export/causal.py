"""What the trainers of causal language models share: axolotl, LLaMA-Factory and MLX.

Each runs on one site and is configured by one YAML file, so a plan becomes one file a shape;
what a person must add (the data, the learning rate) is said at its head.
"""

from collections.abc import Mapping

from finetune.export.files import Export, yaml_bytes
from finetune.export.peft import device_index, folder_names, left_out_notes
from solver.plan import Configuration, InputError, Plan

__all__ = [
    "one_rank",
    "precision",
    "ranks_lost",
    "require_causal",
    "shape_files",
    "steps_of",
    "whole_alpha",
]


def require_causal(plan: Plan, tool: str) -> None:
    """Raise InputError for a plan of another task than the tool trains."""
    if plan.training.task != "causal-lm":
        raise InputError(
            f"{tool} trains causal language models only; the plan's task is "
            f"'{plan.training.task}'. Plan for --task causal-lm, or export --to peft"
        )


def whole_alpha(plan: Plan, rank: int) -> tuple[int, bool]:
    """Alpha of a rank as a whole number, and whether that is what was planned."""
    alpha = plan.lora.scaling * rank
    return max(1, round(alpha)), alpha == max(1, round(alpha))


def one_rank(plan: Plan, shape: Configuration) -> int:
    """Largest rank for all adapted layers at which the adapter is no larger, 1 or more."""
    adapted = range(len(shape.ranks) - shape.depth, len(shape.ranks))
    sizes = plan.lora.parameters_per_rank
    planned = sum(sizes[layer] * shape.ranks[layer] for layer in adapted)
    return max(1, planned // sum(sizes[layer] for layer in adapted))


def ranks_lost(plan: Plan, shape: Configuration, tool: str) -> list[str]:
    """What a tool of one rank loses of a shape; nothing where its ranks are alike."""
    ranks = shape.ranks[-shape.depth :]
    if min(ranks) == max(ranks):
        return []
    return [
        f"{tool} knows one rank for all layers: the ranks by layer are lost, such as "
        f"{min(ranks)} to {max(ranks)} in the last {shape.depth} layers, which become "
        f"{one_rank(plan, shape)}"
    ]


def precision(plan: Plan) -> dict[str, object]:
    """Flags of the compute type, as both tools name them."""
    dtype = plan.training.dtype
    return {"bf16": dtype == "bfloat16", "fp16": dtype == "float16"}


def steps_of(plan: Plan, index: int) -> dict[str, object]:
    """``max_steps``, where all devices of a shape take as many; else devices.json says them."""
    steps = {d.local_steps for d in plan.devices if d.configuration == index}
    return {"max_steps": steps.pop()} if len(steps) == 1 else {}


def shape_files(
    plan: Plan, tool: str, settings: Mapping[int, Mapping[str, object]], missing: str
) -> Export:
    """One YAML file a shape, and ``devices.json``.

    Parameters
    ----------
    plan : Plan
    tool : str
        Name of the file.
    settings : mapping of int to mapping
        What the file of each shape says.
    missing : str
        What a person must add.
    """
    files: dict[str, bytes] = {}
    for index, folder in enumerate(folder_names(plan)):
        if folder is not None:
            comment = (
                f"{_words(plan.configurations[index])}, for {tool}. Add: {missing}.\n"
                "Which device trains it and for how many steps a round is in devices.json."
            )
            files[f"{folder}/{tool}.yaml"] = yaml_bytes(settings[index], comment)
    files["devices.json"] = device_index(plan)
    # A plan from a config alone knows the model by a short name.
    base = (
        f"the base model is {plan.model.name}, as the plan calls it: name its folder or hub id"
    )
    return Export(files=files, notes=[f"add {missing}", base, *left_out_notes(plan)])


def _words(shape: Configuration) -> str:
    low, high = min(shape.ranks[-shape.depth :]), max(shape.ranks)
    ranks = f"rank {low}" if low == high else f"ranks {low} to {high}"
    return f"The last {shape.depth} layers at {ranks}"
