"""A Hugging Face model folder: opening it, and building its task model for training."""

import copy
import json
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
import transformers
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from profiler.closed_form.architectures import config_digest
from profiler.schema import InputError, Training, blamed

_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
_AUTO = {
    "classification": "AutoModelForSequenceClassification",
    "causal-lm": "AutoModelForCausalLM",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model folder, opened.

    Attributes
    ----------
    name : str
        Hub id or folder name.
    folder : Path
        Holds ``config.json`` and perhaps weights.
    config : PretrainedConfig
        The config as transformers reads it.
    has_weights : bool
        Whether the folder holds safetensors; without them weights are random, which costs
        the same.
    """

    name: str
    folder: Path
    config: PretrainedConfig
    has_weights: bool

    @property
    def config_path(self) -> Path:
        """The config file."""
        return self.folder / "config.json"

    def digest(self) -> str:
        """SHA-256 of the config as sorted, compact JSON."""
        return config_digest(json.loads(self.config_path.read_bytes()))


def open_checkpoint(model: str) -> Checkpoint:
    """Open a model folder, or a hub id that is in the local cache.

    Raises
    ------
    InputError
        If there is no config, or transformers cannot read it without running its code.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    folder, name = _locate(model)
    with blamed(
        f"{folder / 'config.json'}: not a config that transformers can use",
        "; expected a model that transformers itself implements",
    ):
        config = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    _refuse_unsupported(name, config)
    weights = any(folder.glob("*.safetensors"))
    return Checkpoint(name=name, folder=folder, config=config, has_weights=weights)


def _refuse_unsupported(name: str, config: PretrainedConfig) -> None:
    if getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"{name}: '{config.model_type}' is an encoder-decoder; expected an encoder such "
            "as RoBERTa or a decoder such as Llama"
        )
    if any(getattr(config, field, None) for field in _EXPERTS):
        raise InputError(
            f"{name}: '{config.model_type}' is a mixture of experts, whose costs depend on the "
            "text; expected a dense model"
        )


def _locate(model: str) -> tuple[Path, str]:
    folder = Path(model)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise InputError(
                f"{model}: no config.json in this folder; expected a Hugging Face model folder"
            )
        return folder, folder.resolve().name
    if folder.exists():
        raise InputError(f"{model}: is a file; expected a Hugging Face model folder")
    cached = _cached_config(model)
    if cached is None:
        raise InputError(
            f"{model}: neither a folder nor a model in the local Hugging Face cache; give a "
            "folder that holds config.json"
        )
    return cached.parent, model


def _cached_config(model: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        path = try_to_load_from_cache(model, "config.json")
    except HFValidationError:
        return None
    return Path(path) if isinstance(path, str) else None


def settle(checkpoint: Checkpoint, training: Training) -> tuple[Training, list[str]]:
    """Fit the training setup to what the model can do.

    Returns
    -------
    Training
        The setup that will run.
    list of str
        What was changed, for people.

    Raises
    ------
    InputError
        If the family has no model for the task, or cannot recompute activations.
    """
    if training.base_dtype != "same":
        raise InputError(
            f"a base in {training.base_dtype} is derived, not run or counted here; add "
            "--derive --hardware, or leave out --base-dtype"
        )
    kind = _task_class(checkpoint.config, training.task)
    if training.gradient_checkpointing and not kind.supports_gradient_checkpointing:
        raise InputError(
            f"{checkpoint.config.model_type} cannot recompute activations; leave out "
            "--gradient-checkpointing"
        )
    if training.attention == "sdpa" and not getattr(kind, "_supports_sdpa", False):
        note = f"{checkpoint.config.model_type} has no sdpa attention; profiled with eager"
        return msgspec.structs.replace(training, attention="eager"), [note]
    return training, []


def _task_class(config: PretrainedConfig, task: str) -> type[PreTrainedModel]:
    mapping = (
        transformers.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
        if task == "classification"
        else transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    )
    if type(config) not in mapping:
        raise InputError(
            f"transformers has no {task} model for '{config.model_type}'; choose another "
            "--task or model"
        )
    masked = type(config) in transformers.MODEL_FOR_MASKED_LM_MAPPING
    if task == "causal-lm" and masked and not getattr(config, "is_decoder", False):
        raise InputError(
            f"task causal-lm: '{config.model_type}' is an encoder, which sees the words it "
            "would have to foretell; choose --task classification"
        )
    kind: type[PreTrainedModel] = mapping[type(config)]
    return kind


def build(checkpoint: Checkpoint, training: Training, *, meta: bool) -> PreTrainedModel:
    """Build the task model for training, frozen weights and all.

    Parameters
    ----------
    checkpoint : Checkpoint
        The model.
    training : Training
        A setup that `settle` has passed.
    meta : bool
        Shapes only (no memory), instead of weights on the CPU.

    Raises
    ------
    InputError
        If config or weights are such that transformers cannot build it.
    """
    config = _training_config(checkpoint.config, training)
    kind = _task_class(config, training.task)
    options = {
        "dtype": getattr(torch, training.dtype),
        "attn_implementation": training.attention,
    }
    with blamed(f"{checkpoint.folder}: cannot be loaded"):
        if checkpoint.has_weights and not meta:
            model = kind.from_pretrained(
                checkpoint.folder, config=config, local_files_only=True, **options
            )
        else:
            auto = getattr(transformers, _AUTO[training.task])
            with torch.device("meta" if meta else "cpu"):
                model = auto.from_config(config, **options)
    model.train()
    return model


def _training_config(config: PretrainedConfig, training: Training) -> PretrainedConfig:
    config = copy.deepcopy(config)
    # A cache of keys and values would keep activations of all layers alive.
    config.use_cache = False
    if training.task == "classification":
        config.num_labels = training.labels
        # Stated, because to guess it some models look at the labels' values.
        single = "single_label_classification" if training.labels > 1 else "regression"
        config.problem_type = single
    if getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = 0
    if not training.dropout:
        for name, value in list(vars(config).items()):
            if "drop" in name and isinstance(value, float):
                setattr(config, name, 0.0)
    return config
