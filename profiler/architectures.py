"""What a model is made of, read from its ``config.json`` alone.

Neither weights nor a deep learning framework are needed: layer count, widths, parameters,
adapted modules and head follow from the published structure of each family
(`profiler.families` holds one reader a family).
"""

import hashlib
import importlib.resources
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from profiler.schema import InputError, Lora, Model, Target, Training, read_bytes

__all__ = [
    "DEFAULT_MODEL",
    "Architecture",
    "Linear",
    "config_digest",
    "describe_lora",
    "describe_model",
    "load_config",
    "preset_names",
    "read_architecture",
]

DEFAULT_MODEL = "roberta-base"

Config = Mapping[str, Any]
Attention = Literal["standard", "position-bias", "disentangled", "rotary", "fused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """A linear module of a layer; `name` is its path below the layer."""

    name: str
    in_features: int
    out_features: int
    bias: bool = True

    @property
    def parameters(self) -> int:
        """Weights and bias."""
        return self.out_features * (self.in_features + self.bias)


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Structure of a transformer whose layers are all alike.

    Parameters are counted as the family's Hugging Face classes allocate them.
    """

    family: str
    layers: int
    hidden_size: int
    heads: int
    key_value_heads: int
    head_size: int
    intermediate_size: int
    vocabulary: int
    positions: int
    linears: tuple[Linear, ...]
    attention: Attention
    activation: str = "gelu"
    adapted: tuple[str, ...]
    layers_path: str
    layer_norm_parameters: int
    embedding_parameters: int
    outside_parameters: int = 0
    pooler_parameters: int = 0
    tied_embeddings: bool = True
    decoder: bool = False
    head_linears: tuple[Linear, ...] = ()
    frozen_pooler: bool = False
    head_input_dropout: bool = False
    hidden_dropout: bool = True
    attention_dropout: bool = True
    relative_positions: int = 0

    @property
    def layer_parameters(self) -> int:
        """Parameters of one layer."""
        return sum(m.parameters for m in self.linears) + self.layer_norm_parameters

    @property
    def base_parameters(self) -> int:
        """Parameters of the bare base model (``AutoModel``), its pooler included."""
        body = self.layers * self.layer_parameters
        return (
            self.embedding_parameters + body + self.outside_parameters + self.pooler_parameters
        )

    @property
    def has_sdpa(self) -> bool:
        """Whether transformers offers fused attention for it."""
        return self.attention in ("standard", "rotary", "fused")

    def frozen_parameters(self, task: str) -> int:
        """Parameters frozen in training: base without the parts the task's class drops."""
        base = self.base_parameters
        if task == "causal-lm":
            return base + (0 if self.tied_embeddings else self.vocabulary * self.hidden_size)
        return base if self.frozen_pooler else base - self.pooler_parameters

    def head(self, labels: int) -> tuple[Linear, ...]:
        """Linear modules of the classification head; the last one puts out the labels."""
        *hidden, last = self.head_linears
        width = last.in_features
        return (
            *hidden,
            Linear(name=last.name, in_features=width, out_features=labels, bias=last.bias),
        )

    def target(self, name: str) -> Linear:
        """The linear module of a layer with this name; raises `InputError`."""
        for module in self.linears:
            if module.name == name:
                return module
        known = ", ".join(m.name for m in self.linears)
        raise InputError(f"target '{name}': no such module in {self.family}; known: {known}")


def config_digest(config: Config) -> str:
    """SHA-256 of a model config in canonical JSON: sorted keys, no white space."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def preset_names() -> list[str]:
    """Names that `load_config` knows without any file."""
    return sorted(_presets())


def load_config(model: str) -> tuple[str, dict[str, Any]]:
    """Find a model's config by preset name or folder.

    Parameters
    ----------
    model : str
        A preset such as ``roberta-base``, a folder that holds ``config.json``, or that file.

    Returns
    -------
    tuple of str and dict
        Name of the model and the content of its config.

    Raises
    ------
    InputError
        If there is neither such a preset nor such a file, or the file is no JSON object.
    """
    presets = _presets()
    if model in presets:
        return model, presets[model]
    path = Path(model)
    if path.is_dir():
        path = path / "config.json"
    if not path.exists():
        raise InputError(
            f"model '{model}': neither a preset nor a folder with config.json; "
            f"presets: {', '.join(sorted(presets))}"
        )
    return path.absolute().parent.name, _read_object(path)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not JSON ({error}); expected a model config") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds no JSON object; expected a model config")
    return value


def _presets() -> dict[str, dict[str, Any]]:
    text = importlib.resources.files("profiler").joinpath("presets.json").read_text("utf-8")
    presets: dict[str, dict[str, Any]] = json.loads(text)
    return presets


def read_architecture(config: Config) -> Architecture:
    """Read a model's structure from the content of its ``config.json``.

    Raises
    ------
    InputError
        If the family is unknown or a field is missing or not a positive whole number.
    """
    from profiler.families import READERS

    family = config.get("model_type")
    reader = READERS.get(family) if isinstance(family, str) else None
    if reader is None:
        raise InputError(
            f"config: model_type is {family!r}; closed forms know {', '.join(READERS)}"
        )
    architecture = reader(config)
    width = architecture.heads * architecture.head_size
    if architecture.heads % architecture.key_value_heads:
        raise InputError(
            f"config: {architecture.heads} attention heads do not divide among "
            f"{architecture.key_value_heads} key-value heads"
        )
    if architecture.attention != "rotary" and width != architecture.hidden_size:
        raise InputError(
            f"config: hidden size {architecture.hidden_size} is no multiple of "
            f"{architecture.heads} attention heads"
        )
    return architecture


def describe_model(
    name: str,
    config: Config,
    training: Training,
    targets: Sequence[str] = (),
) -> Model:
    """Describe a model for planning, from its config.

    Parameters
    ----------
    name : str
        Preset, hub id or folder name.
    config : mapping
        Content of ``config.json``.
    training : Training
        Says which head is trained.
    targets : sequence of str, optional
        Adapted modules below a layer; by default query and value, as PEFT does.
    """
    architecture = read_architecture(config)
    head = head_linears(architecture, training)
    modules = [architecture.target(t) for t in targets or architecture.adapted]
    return Model(
        name=name,
        config_sha256=config_digest(config),
        family=architecture.family,
        layers=architecture.layers,
        hidden_size=architecture.hidden_size,
        parameters=architecture.frozen_parameters(training.task),
        head_parameters=sum(m.parameters for m in head),
        head_modules=list(dict.fromkeys(m.name.partition(".")[0] for m in head)),
        layers_path=architecture.layers_path,
        targets=[
            Target(name=m.name, in_features=m.in_features, out_features=m.out_features)
            for m in modules
        ],
    )


def head_linears(architecture: Architecture, training: Training) -> tuple[Linear, ...]:
    """Trained head of a task; none for causal language modelling."""
    if training.task == "causal-lm":
        if not architecture.decoder:
            raise InputError(
                f"task causal-lm: {architecture.family} is an encoder; use classification"
            )
        return ()
    if training.labels < 1:
        raise InputError(f"labels is {training.labels}; classification needs 1 or more")
    return architecture.head(training.labels)


def describe_lora(model: Model) -> Lora:
    """LoRA of rank r adds ``r * (in + out)`` parameters to each adapted module."""
    per_rank = sum(t.in_features + t.out_features for t in model.targets)
    return Lora(parameters_per_rank=[per_rank] * model.layers)


def whole(config: Config, *keys: str, default: int | None = None) -> int:
    """First of `keys` the config holds, as a positive whole number; raises `InputError`."""
    value = next((config[k] for k in keys if config.get(k) is not None), default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**40:
        seen = "missing" if value is None else repr(value)
        raise InputError(f"config: {keys[0]} is {seen}; expected a positive whole number")
    return value


def fraction(config: Config, key: str, default: float) -> float:
    """A probability such as a dropout rate; raises `InputError`."""
    value = config.get(key, default)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 <= value < 1:
        raise InputError(f"config: {key} is {value!r}; expected a number in [0, 1)")
    return float(value)
