"""Readers of decoders that change Llama's layers, from ``config.json`` to `Architecture`."""

from dataclasses import replace

from profiler.closed_form.architectures import Architecture, Linear
from profiler.closed_form.decoders import gated_decoder
from profiler.closed_form.style import DecoderStyle
from profiler.configs import Config, ConfigError, fraction, refuse, share, whole

__all__ = ["gpt_neox", "granite", "olmo2", "phi3", "smollm3", "starcoder2"]


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
    return replace(
        base,
        linears=tuple(
            Linear(name=n, in_features=i, out_features=o, bias=False) for n, i, o in modules
        ),
        style=DecoderStyle(joint_gate=True, rotated=_rotated(config, base.head_size, 1.0)),
        adapted=("self_attn.qkv_proj",),
        hidden_dropout=fraction(config, "resid_pdrop", 0.0) > 0,
    )


def _rotated(config: Config, head_size: int, part: float) -> int:
    """Numbers of a head that are rotated: a `part` of them unless the config says."""
    named = config.get("rope_parameters") or config.get("rope_scaling") or {}
    settings = {**config, **named} if isinstance(named, dict) else config
    turned = int(head_size * share(settings, "partial_rotary_factor", part))
    return turned + turned % 2


def granite(config: Config) -> Architecture:
    """Granite: Llama with numbers that scale embeddings, branches and logits."""
    base = gated_decoder(
        config,
        DecoderStyle(scaled=True, scaled_embeddings=True, scaled_logits=True),
        attention_bias=bool(config.get("attention_bias", False)),
        mlp_bias=bool(config.get("mlp_bias", False)),
    )
    # transformers has no classifier for it.
    return replace(base, head_linears=())


def olmo2(config: Config) -> Architecture:
    """OLMo 2: norms on the outputs of attention and MLP, and on the whole query and key."""
    style = DecoderStyle(
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
        DecoderStyle(unrotated=_unrotated(config)),
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
        DecoderStyle(norm="layer", gated=False, dropped_embeddings=True),
        activation="gelu_pytorch_tanh",
        attention_bias=bias,
        tied=True,
    )
    rates = [fraction(config, f"{n}_dropout", 0.0) for n in ("residual", "embedding")]
    if (rates[0] > 0) != (rates[1] > 0):
        raise ConfigError("config: only one of residual_dropout, embedding_dropout is not 0")
    hidden, inner = base.hidden_size, base.intermediate_size
    mlp = (
        Linear(name="mlp.c_fc", in_features=hidden, out_features=inner, bias=bias),
        Linear(name="mlp.c_proj", in_features=inner, out_features=hidden, bias=bias),
    )
    return replace(
        _with_layer_norms(base), linears=(*base.linears[:4], *mlp), hidden_dropout=rates[0] > 0
    )


def _with_layer_norms(base: Architecture) -> Architecture:
    """Count the norms' biases, which RMS norms do not have."""
    return replace(
        base,
        layer_norm_parameters=2 * base.layer_norm_parameters,
        outside_parameters=2 * base.outside_parameters,
    )


def gpt_neox(config: Config) -> Architecture:
    """GPT-NeoX, Pythia: layer norms, heads rotated in part, attention beside the MLP."""
    base = gated_decoder(config, activation="gelu")
    hidden, inner = base.hidden_size, base.intermediate_size
    bias = bool(config.get("attention_bias", True))
    modules = (
        ("attention.query_key_value", hidden, 3 * hidden, bias),
        ("attention.dense", hidden, hidden, bias),
        ("mlp.dense_h_to_4h", hidden, inner, True),
        ("mlp.dense_4h_to_h", inner, hidden, True),
    )
    part = share(config, "rotary_pct", 0.25)
    style = DecoderStyle(
        norm="layer",
        rotated=_rotated(config, base.head_size, part),
        split=True,
        gated=False,
        parallel=bool(config.get("use_parallel_residual", True)),
        dropped_embeddings=True,
    )
    return replace(
        _with_layer_norms(base),
        linears=tuple(
            Linear(name=n, in_features=i, out_features=o, bias=b) for n, i, o, b in modules
        ),
        style=style,
        adapted=("attention.query_key_value",),
        hidden_dropout=fraction(config, "hidden_dropout", 0.0) > 0,
    )
