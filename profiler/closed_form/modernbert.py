"""Reader of ModernBERT, from ``config.json`` to `Architecture`."""

from typing import Literal

from profiler.closed_form.architectures import Architecture, Linear
from profiler.closed_form.gemma import layer_kinds
from profiler.closed_form.style import DecoderStyle
from profiler.configs import Config, ConfigError, refuse, whole

__all__ = ["modernbert"]

DROPOUTS = ("attention", "embedding", "mlp", "classifier")


def modernbert(config: Config) -> Architecture:
    """ModernBERT: an encoder of pre-norm layers with rotary positions and gated MLPs."""
    for part in DROPOUTS:
        refuse(config, f"{part}_dropout", "dropout, which published ModernBERTs do without")
    hidden, inner = whole(config, "hidden_size"), whole(config, "intermediate_size")
    heads, layers = whole(config, "num_attention_heads"), whole(config, "num_hidden_layers")
    vocabulary = whole(config, "vocab_size")
    norm = hidden * (1 + bool(config.get("norm_bias", False)))
    every = whole(config, "global_attn_every_n_layers", default=3)
    return Architecture(
        family="modernbert",
        layers=layers,
        hidden_size=hidden,
        heads=heads,
        key_value_heads=heads,
        head_size=max(1, hidden // heads),
        intermediate_size=inner,
        vocabulary=vocabulary,
        positions=whole(config, "max_position_embeddings", default=8192),
        linears=_modules(config, hidden, inner),
        attention="rotary",
        style=DecoderStyle(
            norm="layer",
            bare_first=True,
            split=True,
            joint_gate=True,
            holds_attention=True,
            kinds=layer_kinds(config, every, first=0),
            own_tables=True,
            wide_rotation=True,
        ),
        activation=str(config.get("hidden_activation", "gelu")),
        adapted=("attn.Wqkv",),
        layers_path="layers",
        layer_norm_parameters=2 * norm,
        embedding_parameters=vocabulary * hidden + norm,
        # The norm behind the last layer takes the place of the one the first layer lacks.
        outside_parameters=0,
        head_linears=_head(config, hidden, norm),
        head_activation=str(config.get("classifier_activation", "gelu")),
        pooling=_pooling(config),
        hidden_dropout=False,
        attention_dropout=False,
        wide_softmax=True,
    )


def _modules(config: Config, hidden: int, inner: int) -> tuple[Linear, ...]:
    attention = bool(config.get("attention_bias", False))
    mlp = bool(config.get("mlp_bias", False))
    modules = (
        ("attn.Wqkv", hidden, 3 * hidden, attention),
        ("attn.Wo", hidden, hidden, attention),
        ("mlp.Wi", hidden, 2 * inner, mlp),
        ("mlp.Wo", inner, hidden, mlp),
    )
    return tuple(
        Linear(name=n, in_features=i, out_features=o, bias=b) for n, i, o, b in modules
    )


def _head(config: Config, hidden: int, norm: int) -> tuple[Linear, ...]:
    """A hidden layer, its norm (counted as a module of one output), the classifier."""
    bias = bool(config.get("classifier_bias", False))
    return (
        Linear(name="head.dense", in_features=hidden, out_features=hidden, bias=bias),
        Linear(name="head.norm", in_features=hidden, out_features=norm // hidden, bias=False),
        Linear(name="classifier", in_features=hidden, out_features=1),
    )


def _pooling(config: Config) -> Literal["first", "mean"]:
    named = config.get("classifier_pooling", "cls")
    if named not in ("cls", "mean"):
        raise ConfigError(f"config: classifier_pooling is {named!r}; expected cls or mean")
    return "mean" if named == "mean" else "first"
