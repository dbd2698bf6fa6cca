"""Readers of decoder families, from ``config.json`` to `Architecture`."""

from profiler.closed_form.architectures import Architecture, Linear
from profiler.closed_form.style import LLAMA, DecoderStyle
from profiler.configs import Config, ConfigError, fraction, refuse, whole

__all__ = ["gated_decoder", "gpt2", "llama", "mistral", "opt", "qwen2", "qwen3"]


def gpt2(config: Config) -> Architecture:
    """GPT-2: one linear module for query, key and value."""
    refuse(config, "add_cross_attention", "cross attention")
    hidden = whole(config, "n_embd", "hidden_size")
    inner = whole(config, "n_inner", default=4 * hidden)
    heads = whole(config, "n_head", "num_attention_heads")
    rows = whole(config, "vocab_size") + whole(config, "n_positions", "n_ctx", default=1024)
    return Architecture(
        family="gpt2",
        layers=whole(config, "n_layer", "num_hidden_layers"),
        hidden_size=hidden,
        heads=heads,
        key_value_heads=heads,
        head_size=max(1, hidden // heads),
        intermediate_size=inner,
        vocabulary=whole(config, "vocab_size"),
        positions=whole(config, "n_positions", "n_ctx", default=1024),
        linears=(
            Linear(name="attn.c_attn", in_features=hidden, out_features=3 * hidden),
            Linear(name="attn.c_proj", in_features=hidden, out_features=hidden),
            Linear(name="mlp.c_fc", in_features=hidden, out_features=inner),
            Linear(name="mlp.c_proj", in_features=inner, out_features=hidden),
        ),
        attention="standard",
        style=DecoderStyle(norm="layer", dropped_embeddings=True),
        activation=str(config.get("activation_function", "gelu_new")),
        adapted=("attn.c_attn",),
        layers_path="h",
        layer_norm_parameters=4 * hidden,
        embedding_parameters=rows * hidden,
        outside_parameters=2 * hidden,
        decoder=True,
        tied_embeddings=bool(config.get("tie_word_embeddings", True)),
        head_linears=(Linear(name="score", in_features=hidden, out_features=1, bias=False),),
        hidden_dropout=fraction(config, "resid_pdrop", 0.1) > 0,
        attention_dropout=fraction(config, "attn_pdrop", 0.1) > 0,
    )


def opt(config: Config) -> Architecture:
    """OPT: a table of positions as GPT-2, separate projections as Llama."""
    refuse(config, "layerdrop", "layers left out at random")
    refuse(config, "_remove_final_layer_norm", "no norm behind the last layer")
    refuse(config, "do_layer_norm_before", "norms behind attention and MLP", asked=False)
    refuse(config, "layer_norm_elementwise_affine", "norms without weights", asked=False)
    hidden, inner = whole(config, "hidden_size"), whole(config, "ffn_dim", "intermediate_size")
    if whole(config, "word_embed_proj_dim", default=hidden) != hidden:
        raise ConfigError("config: word_embed_proj_dim differs from hidden_size; not covered")
    heads, vocabulary = whole(config, "num_attention_heads"), whole(config, "vocab_size")
    positions = whole(config, "max_position_embeddings", default=2048)
    bias = bool(config.get("enable_bias", True))
    modules = (
        *((f"self_attn.{n}_proj", hidden, hidden) for n in ("q", "k", "v", "out")),
        ("fc1", hidden, inner),
        ("fc2", inner, hidden),
    )
    layers = whole(config, "num_hidden_layers")
    style = DecoderStyle(
        norm="layer",
        scaled_query=True,
        gated=False,
        inline_mlp=True,
        unrotated=frozenset(range(layers)),
    )
    return Architecture(
        family="opt",
        layers=layers,
        hidden_size=hidden,
        heads=heads,
        key_value_heads=heads,
        head_size=max(1, hidden // heads),
        intermediate_size=inner,
        vocabulary=vocabulary,
        positions=positions,
        linears=tuple(
            Linear(name=n, in_features=i, out_features=o, bias=bias) for n, i, o in modules
        ),
        attention="standard",
        style=style,
        activation=str(config.get("activation_function", "relu")),
        # As transformers orders them.
        adapted=("self_attn.v_proj", "self_attn.q_proj"),
        layers_path="decoder.layers",
        layer_norm_parameters=4 * hidden,
        # Positions count from 2.
        embedding_parameters=(vocabulary + positions + 2) * hidden,
        outside_parameters=2 * hidden,
        decoder=True,
        tied_embeddings=bool(config.get("tie_word_embeddings", True)),
        head_linears=(Linear(name="score", in_features=hidden, out_features=1, bias=False),),
        hidden_dropout=fraction(config, "dropout", 0.1) > 0,
        attention_dropout=fraction(config, "attention_dropout", 0.0) > 0,
        wide_softmax=True,
        positions_by_token=True,
    )


def llama(config: Config) -> Architecture:
    """Llama: RMS norms, rotary positions, gated MLP."""
    return gated_decoder(
        config,
        attention_bias=bool(config.get("attention_bias", False)),
        mlp_bias=bool(config.get("mlp_bias", False)),
    )


def mistral(config: Config) -> Architecture:
    """Mistral: Llama without biases."""
    return gated_decoder(config)


def qwen2(config: Config) -> Architecture:
    """Qwen2: Llama with biases on query, key and value."""
    return gated_decoder(config, input_bias=True)


def qwen3(config: Config) -> Architecture:
    """Qwen3: Llama with norms on each head's query and key."""
    return gated_decoder(
        config,
        DecoderStyle(query_key_norm="head"),
        head_size=128,
        attention_bias=bool(config.get("attention_bias", False)),
    )


def gated_decoder(
    config: Config,
    style: DecoderStyle = LLAMA,
    *,
    head_size: int = 0,
    activation: str = "silu",
    attention_bias: bool = False,
    input_bias: bool = False,
    mlp_bias: bool = False,
    tied: bool = False,
) -> Architecture:
    """A decoder with Llama's modules and names.

    Parameters
    ----------
    config : mapping
        Content of ``config.json``.
    style : DecoderStyle
        What its layers do differently.
    head_size : int
        Width of a head where the config has none; 0 divides the hidden size by the heads.
    activation : str
        Of the MLP, where the config names none.
    attention_bias, input_bias, mlp_bias : bool
        Biases of all modules of attention, of its query, key and value, of the MLP.
    tied : bool
        Whether the output shares the embeddings' weights where the config does not say.
    """
    hidden = whole(config, "hidden_size")
    heads = whole(config, "num_attention_heads")
    groups = whole(config, "num_key_value_heads", default=heads)
    size = whole(config, "head_dim", default=head_size or max(1, hidden // heads))
    inner = whole(config, "intermediate_size")
    vocabulary = whole(config, "vocab_size")
    queries, keys = heads * size, groups * size
    into = attention_bias or input_bias
    modules = (
        ("self_attn.q_proj", hidden, queries, into),
        ("self_attn.k_proj", hidden, keys, into),
        ("self_attn.v_proj", hidden, keys, into),
        ("self_attn.o_proj", queries, hidden, attention_bias),
        ("mlp.gate_proj", hidden, inner, mlp_bias),
        ("mlp.up_proj", hidden, inner, mlp_bias),
        ("mlp.down_proj", inner, hidden, mlp_bias),
    )
    head_norms = {"": 0, "head": 2 * size, "whole": queries + keys}[style.query_key_norm]
    return Architecture(
        family=str(config["model_type"]),
        layers=whole(config, "num_hidden_layers"),
        hidden_size=hidden,
        heads=heads,
        key_value_heads=groups,
        head_size=size,
        intermediate_size=inner,
        vocabulary=vocabulary,
        positions=whole(config, "max_position_embeddings", default=2048),
        linears=tuple(
            Linear(name=n, in_features=i, out_features=o, bias=b) for n, i, o, b in modules
        ),
        attention="rotary",
        style=style,
        activation=str(config.get("hidden_act") or activation),
        adapted=("self_attn.q_proj", "self_attn.v_proj"),
        layers_path="layers",
        layer_norm_parameters=style.norms * hidden + head_norms,
        embedding_parameters=vocabulary * hidden,
        outside_parameters=hidden,
        decoder=True,
        tied_embeddings=bool(config.get("tie_word_embeddings", tied)),
        head_linears=(Linear(name="score", in_features=hidden, out_features=1, bias=False),),
        hidden_dropout=False,
        attention_dropout=fraction(config, "attention_dropout", 0.0) > 0,
        wide_softmax=True,
    )
