"""Readers of the Gemma families, from ``config.json`` to `Architecture`."""

from dataclasses import replace

from profiler.closed_form.architectures import Architecture
from profiler.closed_form.decoders import gated_decoder
from profiler.closed_form.style import DecoderStyle
from profiler.configs import Config, ConfigError, refuse, whole

__all__ = ["gemma", "gemma2", "gemma3", "layer_kinds"]

HEAD_SIZE = 256
GEMMA = DecoderStyle(norm="rms-shifted", scaled_embeddings=True)
SANDWICH = replace(GEMMA, norm_after=True)


def gemma(config: Config) -> Architecture:
    """Gemma: wide heads, scaled embeddings, norms that multiply by 1 + weight."""
    return _read(config, GEMMA)


def gemma2(config: Config) -> Architecture:
    """Gemma 2: norms on both sides of attention and MLP, capped scores and logits."""
    style = replace(
        SANDWICH,
        kinds=layer_kinds(config, 2),
        capped_scores=_is_capped(config, "attn_logit_softcapping"),
        capped_logits=_is_capped(config, "final_logit_softcapping"),
    )
    # transformers has no fused attention for it, capped scores or not.
    return replace(_read(config, style), has_sdpa=False)


def _is_capped(config: Config, key: str) -> bool:
    return key not in config or config[key] is not None


def gemma3(config: Config) -> Architecture:
    """Gemma 3, text alone: norms on each head, two kinds of rotary tables."""
    style = replace(
        SANDWICH,
        query_key_norm="head",
        capped_logits=config.get("final_logit_softcapping") is not None,
        kinds=layer_kinds(config, whole(config, "sliding_window_pattern", default=6)),
        own_tables=True,
    )
    return _read(config, style)


def layer_kinds(config: Config, pattern: int, first: int = 1) -> tuple[str, ...]:
    """Kind of every layer: one of each `pattern` sees everything, the others a window.

    The `first` layer's number says which one.
    """
    named = config.get("layer_types")
    layers = whole(config, "num_hidden_layers")
    if named is None:
        numbers = range(first, first + layers)
        return tuple("sliding" if i % pattern else "full" for i in numbers)
    if not isinstance(named, list) or len(named) != layers:
        raise ConfigError(
            f"config: layer_types is {str(named)[:60]}, no list of {layers} kinds; name "
            "one for each layer"
        )
    return tuple(str(kind) for kind in named)


def _read(config: Config, style: DecoderStyle) -> Architecture:
    refuse(config, "use_bidirectional_attention", "attention in both directions")
    if config["model_type"] != "gemma":
        config = {**config, "hidden_act": config.get("hidden_activation")}
    return gated_decoder(
        config,
        style,
        head_size=HEAD_SIZE,
        activation="gelu_pytorch_tanh",
        attention_bias=bool(config.get("attention_bias", False)),
        tied=True,
    )
