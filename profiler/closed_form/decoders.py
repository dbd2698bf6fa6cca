"""Readers of decoder families, from ``config.json`` to `Architecture`."""

from profiler.closed_form.architectures import Architecture, Linear
from profiler.configs import Config, fraction, refuse, whole

__all__ = ["gpt2", "llama"]


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
        attention="fused",
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


def llama(config: Config) -> Architecture:
    """Llama, Mistral, Qwen2 and Qwen3: RMS norms, rotary positions, gated MLP."""
    family = str(config["model_type"])
    hidden = whole(config, "hidden_size")
    heads = whole(config, "num_attention_heads")
    groups = whole(config, "num_key_value_heads", default=heads)
    size = whole(
        config, "head_dim", default=128 if family == "qwen3" else max(1, hidden // heads)
    )
    head_norms = 2 * size if family == "qwen3" else 0
    vocabulary = whole(config, "vocab_size")
    return Architecture(
        family=family,
        layers=whole(config, "num_hidden_layers"),
        hidden_size=hidden,
        heads=heads,
        key_value_heads=groups,
        head_size=size,
        intermediate_size=whole(config, "intermediate_size"),
        vocabulary=vocabulary,
        positions=whole(config, "max_position_embeddings", default=2048),
        linears=_llama_linears(config, hidden, heads * size, groups * size),
        attention="rotary",
        activation=str(config.get("hidden_act", "silu")),
        adapted=("self_attn.q_proj", "self_attn.v_proj"),
        layers_path="layers",
        layer_norm_parameters=2 * hidden + head_norms,
        embedding_parameters=vocabulary * hidden,
        outside_parameters=hidden,
        decoder=True,
        tied_embeddings=bool(config.get("tie_word_embeddings", False)),
        head_linears=(Linear(name="score", in_features=hidden, out_features=1, bias=False),),
        hidden_dropout=False,
        attention_dropout=fraction(config, "attention_dropout", 0.0) > 0,
    )


def _llama_linears(config: Config, hidden: int, queries: int, keys: int) -> tuple[Linear, ...]:
    family = config["model_type"]
    output_bias = family in ("llama", "qwen3") and bool(config.get("attention_bias", False))
    input_bias = family == "qwen2" or output_bias
    mlp_bias = family == "llama" and bool(config.get("mlp_bias", False))
    inner = whole(config, "intermediate_size")
    table = (
        ("self_attn.q_proj", hidden, queries, input_bias),
        ("self_attn.k_proj", hidden, keys, input_bias),
        ("self_attn.v_proj", hidden, keys, input_bias),
        ("self_attn.o_proj", queries, hidden, output_bias),
        ("mlp.gate_proj", hidden, inner, mlp_bias),
        ("mlp.up_proj", hidden, inner, mlp_bias),
        ("mlp.down_proj", inner, hidden, mlp_bias),
    )
    return tuple(Linear(name=n, in_features=i, out_features=o, bias=b) for n, i, o, b in table)
