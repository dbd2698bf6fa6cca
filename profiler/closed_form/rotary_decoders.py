"""Readers of decoders that change Llama's layers, from ``config.json`` to `Architecture`."""

from dataclasses import replace

from profiler.closed_form.architectures import Architecture, Linear
from profiler.closed_form.decoders import gated_decoder
from profiler.closed_form.style import RotaryStyle
from profiler.configs import Config, ConfigError, fraction, refuse, share, whole

__all__ = ["granite", "olmo2", "phi3", "smollm3", "starcoder2"]


def phi3(config: Config) -> Architecture:
    """Phi-3: one linear module for query, key and value, one for gate and up projection."""
    base = gated_decoder(config)
    hidden, inner = base.hidden_size, base.intermediate_size
    queries = base.heads * base.head_size
    joint = queries + 2 * base.key_value_heads * base.head_size
    modules = (
        ("self_attn.qkv_proj", hidden, joint),
        ("self_attn.o_proj", queries, hidden),
        ("mlp.gate_up_proj", hidden, 2 * inner),
        ("mlp.down_proj", inner, hidden),
    )
    part = share(_rotary(config), "partial_rotary_factor", 1.0)
    return replace(
        base,
        linears=tuple(
            Linear(name=n, in_features=i, out_features=o, bias=False) for n, i, o in modules
        ),
        style=RotaryStyle(joint_gate=True, rotated=int(part * base.head_size)),
        adapted=("self_attn.qkv_proj",),
        hidden_dropout=fraction(config, "resid_pdrop", 0.0) > 0,
    )


def _rotary(config: Config) -> Config:
    """Settings of the rotary positions, wherever this version of the config has them."""
    scaled = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return {**config, **scaled} if isinstance(scaled, dict) else config


def granite(config: Config) -> Architecture:
    """Granite: Llama with numbers that scale embeddings, branches and logits."""
    base = gated_decoder(
        config,
        RotaryStyle(scaled=True, scaled_embeddings=True, scaled_logits=True),
        attention_bias=bool(config.get("attention_bias", False)),
        mlp_bias=bool(config.get("mlp_bias", False)),
    )
    # transformers has no classifier for it.
    return replace(base, head_linears=())


def olmo2(config: Config) -> Architecture:
    """OLMo 2: norms on the outputs of attention and MLP, and on the whole query and key."""
    style = RotaryStyle(
        norm="rms-wide",
        norm_before=False,
        norm_after=True,
        query_key_norm="whole",
        wide_tables=True,
    )
    bias = bool(config.get("attention_bias", False))
    return gated_decoder(config, style, attention_bias=bias)


def smollm3(config: Config) -> Architecture:
    """SmolLM3: Llama with layers that know no positions, every fourth unless listed."""
    refuse(config, "use_sliding_window", "a sliding window")
    return gated_decoder(
        {"num_key_value_heads": 4, **config},
        RotaryStyle(unrotated=_unrotated(config)),
        attention_bias=bool(config.get("attention_bias", False)),
        mlp_bias=bool(config.get("mlp_bias", False)),
        tied=True,
    )


def _unrotated(config: Config) -> frozenset[int]:
    layers = whole(config, "num_hidden_layers")
    listed = config.get("no_rope_layers")
    if listed is None:
        interval = whole(config, "no_rope_layer_interval", default=4)
        return frozenset(range(interval - 1, layers, interval))
    if not isinstance(listed, list) or len(listed) != layers:
        raise ConfigError(f"config: no_rope_layers is no list of {layers} numbers")
    return frozenset(i for i, rotated in enumerate(listed) if not rotated)


def starcoder2(config: Config) -> Architecture:
    """StarCoder2: layer norms, biases, and an MLP without gate."""
    bias = bool(config.get("use_bias", True))
    base = gated_decoder(
        {"num_key_value_heads": 2, **config},
        RotaryStyle(norm="layer", gated=False, dropped_embeddings=True),
        activation="gelu_pytorch_tanh",
        attention_bias=bias,
        tied=True,
    )
    hidden, inner = base.hidden_size, base.intermediate_size
    rates = [fraction(config, f"{n}_dropout", 0.0) for n in ("residual", "embedding")]
    if (rates[0] > 0) != (rates[1] > 0):
        raise ConfigError("config: only one of residual_dropout, embedding_dropout is not 0")
    return replace(
        base,
        linears=(
            *base.linears[:4],
            Linear(name="mlp.c_fc", in_features=hidden, out_features=inner, bias=bias),
            Linear(name="mlp.c_proj", in_features=inner, out_features=hidden, bias=bias),
        ),
        # A layer norm has a bias beside its weight.
        layer_norm_parameters=2 * base.layer_norm_parameters,
        outside_parameters=2 * base.outside_parameters,
        hidden_dropout=rates[0] > 0,
    )
