"""The frozen base model: loaded once, checked against the plan, shared by every device."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
import transformers
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
)

from finetune.model.state import State
from finetune.seeds import Stream, torch_seed
from profiler.schema import blamed
from solver.plan import InputError, Plan

__all__ = ["Base", "layer_targets", "load_base"]

logger = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Base(NamedTuple):
    """A task model with every parameter frozen, and the names of its head's modules.

    `made_up` are weights that the folder lacks, under the names PEFT would save them by: they
    go with the adapter, as nobody could load it onto the same model otherwise.
    """

    model: nn.Module
    head_modules: list[str]
    dtype: torch.dtype
    made_up: State

    @property
    def prefix(self) -> str:
        """Name of the base model inside the task model, such as ``bert``."""
        return str(self.model.base_model_prefix)


def load_base(
    plan: Plan, folder: Path, seed: int, pad_id: int, dtype: str | None = None
) -> Base:
    """Load the task model of a folder; the head starts from `seed` where it has no weights.

    It computes in `dtype`, or in the plan's.

    Raises
    ------
    InputError
        If the folder holds no model, or another one than the plan is for.
    """
    config = _config(plan, folder, pad_id)
    training = plan.training
    if dtype is None and training.base_dtype != "same":
        raise InputError(
            f"the plan's base is in {training.base_dtype}, which no run here has; export the "
            "plan, or simulate with a base that is not quantised: --compute-dtype float32"
        )
    computes = DTYPES.get(dtype or training.dtype)
    if computes is None:
        raise InputError(
            f"the plan trains in {training.dtype}; expected {' or '.join(DTYPES)}. "
            "Profile with another dtype, or simulate in another: --compute-dtype bfloat16"
        )
    kind = (
        AutoModelForCausalLM
        if training.task == "causal-lm"
        else AutoModelForSequenceClassification
    )
    torch.manual_seed(torch_seed(seed, Stream.HEAD))
    with _quiet(), blamed(f"{folder}: cannot be loaded"):
        model, loading = kind.from_pretrained(
            folder,
            config=config,
            dtype=computes,
            attn_implementation=training.attention,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    model.requires_grad_(False)
    lost = [n for n in loading["missing_keys"] if n.startswith(f"{model.base_model_prefix}.")]
    made_up = _made_up(folder, model, sorted(lost))
    base = Base(model, _head_modules(plan, model), computes, made_up)
    _check_model(plan, base, folder)
    return base


def layer_targets(plan: Plan, base: Base) -> dict[str, nn.Module]:
    """Modules that LoRA may adapt, by their full name below the base model."""
    body = base.model.get_submodule(base.prefix)
    return {
        name: body.get_submodule(name)
        for layer in range(plan.model.layers)
        for name in (plan.model.module_name(layer, t.name) for t in plan.model.targets)
    }


def _config(plan: Plan, folder: Path, pad_id: int) -> transformers.PretrainedConfig:
    with blamed(f"{folder}: its config.json cannot be used"):
        config = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    if config.model_type != plan.model.family:
        raise InputError(
            f"{folder}: holds a {config.model_type} model; the plan is for "
            f"'{plan.model.name}', a {plan.model.family} model. Give that model's folder"
        )
    config.use_cache = False
    config.pad_token_id = pad_id
    if plan.training.task == "classification":
        config.num_labels = plan.training.labels
        config.problem_type = "single_label_classification"
    else:
        # Not every family's class name tells transformers which loss it takes.
        config.loss_type = "ForCausalLM"
    if not plan.training.dropout:
        _switch_off_dropout(config)
    return config


def _switch_off_dropout(config: transformers.PretrainedConfig) -> None:
    """Set every dropout probability to 0, whatever the family calls it."""
    for name, value in config.to_dict().items():
        if ("drop" in name or name.endswith("_pdrop")) and isinstance(value, float):
            setattr(config, name, 0.0)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' load report and progress bars off the terminal."""
    hub = transformers.utils.logging
    level, bars = hub.get_verbosity(), hub.is_progress_bar_enabled()
    hub.set_verbosity(logging.ERROR)
    hub.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        hub.set_verbosity(level)
        if bars:
            hub.enable_progress_bar()


def _made_up(folder: Path, model: nn.Module, lost: list[str]) -> State:
    """Weights of the base that had to start from the seed: of a pooler, or none at all.

    Many a checkpoint comes without the projection that follows the last layer, as it was not
    trained with one. Anything else that is missing is what the model knows: it is refused.
    """
    for name in lost:
        if "pooler" not in name.split("."):
            raise InputError(
                f"{folder}: its weights lack {name} ({len(lost)} in all), which would stay "
                "random; give a folder with all weights of the base model"
            )
    if lost:
        logger.warning(
            "%s: its weights lack %s; they start from the seed, stay frozen and are saved with "
            "the adapter",
            folder,
            ", ".join(lost),
        )
    return {f"base_model.model.{name}": model.get_parameter(name).detach() for name in lost}


def _head_modules(plan: Plan, model: nn.Module) -> list[str]:
    """Modules of the head: those the plan names, or all with weights outside the base."""
    if plan.training.task == "causal-lm":
        return list(plan.model.head_modules)
    return list(plan.model.head_modules) or [
        name
        for name, child in model.named_children()
        if name != model.base_model_prefix and any(True for _ in child.parameters())
    ]


def _check_model(plan: Plan, base: Base, folder: Path) -> None:
    """Raise InputError unless layers, targets and head are the ones planned for."""
    wanted, training = plan.model, plan.training
    try:
        layers = base.model.get_submodule(f"{base.prefix}.{wanted.layers_path}")
        targets = layer_targets(plan, base) if len(list(layers.children())) else {}
        heads = [base.model.get_submodule(name) for name in base.head_modules]
    except AttributeError as error:
        raise InputError(
            f"{folder}: {error}; the plan for '{wanted.name}' needs it. Give that model"
        ) from None
    if len(list(layers.children())) != wanted.layers:
        raise InputError(
            f"{folder}: has {len(list(layers.children()))} layers; the plan for "
            f"'{wanted.name}' has {wanted.layers}. Give that model's folder"
        )
    sizes = {t.name: (t.in_features, t.out_features) for t in wanted.targets}
    for name, module in targets.items():
        target = name.removeprefix(f"{wanted.layers_path}.").split(".", 1)[1]
        if _sizes(module) != sizes[target]:
            raise InputError(
                f"{folder}: {name} is {_sizes(module)} wide; the plan for '{wanted.name}' "
                f"expects {sizes[target]}. Give that model's folder"
            )
    head_parameters = sum(p.numel() for head in heads for p in head.parameters())
    if head_parameters != wanted.head_parameters:
        raise InputError(
            f"{folder}: its head ({', '.join(base.head_modules) or 'none'}) has "
            f"{head_parameters} parameters with {training.labels} labels; the plan counts "
            f"{wanted.head_parameters}. Profile and solve again with this model"
        )


def _sizes(module: nn.Module) -> tuple[int, int] | None:
    """Input and output width of a Linear, or of GPT-2's Conv1D (weight transposed)."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, transformers.pytorch_utils.Conv1D):
        return module.nx, module.nf
    return None
