"""What a model is made of, read from its ``config.json`` alone.

Neither weights nor a deep learning framework are needed: layer count, widths, parameters,
adapted modules and head follow from the published structure of each family
(`profiler.closed_form.families` holds one reader a family).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from profiler.closed_form.style import LLAMA, DecoderStyle
from profiler.configs import Config, ConfigError
from profiler.schema import InputError, Lora, Model, Target, Training

__all__ = [
    "Architecture",
    "Linear",
    "config_digest",
    "describe_lora",
    "describe_model",
    "head_linears",
    "read_architecture",
]

Attention = Literal["standard", "position-bias", "disentangled", "rotary"]


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

    Parameters are counted as the family's Hugging Face classes allocate them. `has_sdpa` says
    whether these offer fused attention, `wide_softmax` whether the other one has its softmax in
    32 bits, `positions_by_token` whether every example looks up its positions.
    `embedding_size` is 0 where it is the hidden size.
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
    style: DecoderStyle = LLAMA
    has_sdpa: bool = True
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
    head_activation: str = "tanh"
    pooling: Literal["first", "mean"] = "first"
    hidden_dropout: bool = True
    attention_dropout: bool = True
    wide_softmax: bool = False
    relative_positions: int = 0
    embedding_size: int = 0
    positions_by_token: bool = False

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
    def joint_projection(self) -> bool:
        """Whether one linear module gives query, key and value."""
        return self.linears[0].out_features > self.heads * self.head_size

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
        """The linear module of a layer with this full name."""
        return next(m for m in self.linears if m.name == name)

    def resolve_targets(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """Full names of the modules to adapt.

        Parameters
        ----------
        wanted : sequence of str
            Names, last parts of names, roles (``q``, ``k``, ``v``, ``o``) or ``all-linear``;
            none means the default of the family.

        Raises
        ------
        InputError
            If a word means no module of a layer.
        """
        found: dict[str, None] = dict.fromkeys(() if wanted else self.adapted)
        for word in wanted:
            names = [m.name for m in self.linears if self._is_meant(m.name, word)]
            if not names:
                known = ", ".join(m.name for m in self.linears)
                raise InputError(
                    f"target '{word}': no such module in {self.family}; known: {known}, "
                    "q, k, v, o, all-linear"
                )
            found.update(dict.fromkeys(names))
        return tuple(found)

    def _is_meant(self, name: str, word: str) -> bool:
        index = {"q": 0, "k": 1, "v": 2, "o": 3}.get(word)
        if index is not None:
            # A joint projection holds query, key and value; the output follows it.
            place = index // 3 if self.joint_projection else index
            return name == self.linears[place].name
        return word == "all-linear" or name == word or name.endswith(f".{word}")


def config_digest(config: Config) -> str:
    """SHA-256 of a model config in canonical JSON: sorted keys, no white space."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_architecture(config: Config) -> Architecture:
    """Read a model's structure from the content of its ``config.json``.

    Raises
    ------
    ConfigError
        If the family is unknown or a field is missing or not a positive whole number.
    """
    from profiler.closed_form.families import READERS

    family = config.get("model_type")
    reader = READERS.get(family) if isinstance(family, str) else None
    if reader is None:
        inner = config.get("text_config")
        nested = inner.get("model_type") if isinstance(inner, Mapping) else None
        hint = f". Its text model is a {nested}: give text_config as a config.json of its own"
        raise ConfigError(
            f"config: model_type is {family!r}; closed forms know {', '.join(READERS)}"
            + (hint if nested in READERS else "")
        )
    architecture = reader(config)
    width = architecture.heads * architecture.head_size
    if architecture.heads % architecture.key_value_heads:
        raise ConfigError(
            f"config: {architecture.heads} attention heads do not divide among "
            f"{architecture.key_value_heads} key-value heads"
        )
    if architecture.attention != "rotary" and width != architecture.hidden_size:
        raise ConfigError(
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
        Adapted modules, as `Architecture.resolve_targets` takes them.
    """
    architecture = read_architecture(config)
    head = head_linears(architecture, training)
    modules = [architecture.target(t) for t in architecture.resolve_targets(targets)]
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
    if not architecture.head_linears:
        raise InputError(
            f"task classification: transformers has no classifier for {architecture.family}; "
            "use causal-lm"
        )
    if training.labels < 1:
        raise InputError(f"labels is {training.labels}; classification needs 1 or more")
    return architecture.head(training.labels)


def describe_lora(model: Model) -> Lora:
    """LoRA of rank r adds ``r * (in + out)`` parameters to each adapted module."""
    per_rank = sum(t.in_features + t.out_features for t in model.targets)
    return Lora(parameters_per_rank=[per_rank] * model.layers)
