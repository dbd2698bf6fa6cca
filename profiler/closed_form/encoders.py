"""Readers of encoder families, from ``config.json`` to `Architecture`."""

from dataclasses import replace

from profiler.closed_form.architectures import Architecture, Linear
from profiler.configs import Config, ConfigError, fraction, refuse, whole

__all__ = ["bert", "deberta_v2", "distilbert", "electra", "mpnet", "roberta"]


def bert(config: Config) -> Architecture:
    """BERT: absolute positions, a pooler that is frozen, a head on top of it."""
    hidden = whole(config, "hidden_size")
    inner = whole(config, "intermediate_size")
    heads = whole(config, "num_attention_heads")
    norm = 2 * hidden
    rows = whole(config, "vocab_size") + whole(config, "max_position_embeddings")
    rows += _token_types(config, default=2)
    return Architecture(
        family=str(config["model_type"]),
        layers=whole(config, "num_hidden_layers"),
        hidden_size=hidden,
        heads=heads,
        key_value_heads=heads,
        head_size=max(1, hidden // heads),
        intermediate_size=inner,
        vocabulary=whole(config, "vocab_size"),
        positions=whole(config, "max_position_embeddings", default=512),
        linears=_encoder_linears(
            hidden,
            inner,
            attention=("attention.self.query", "attention.self.key", "attention.self.value"),
            output="attention.output.dense",
            mlp=("intermediate.dense", "output.dense"),
        ),
        attention="standard",
        activation=str(config.get("hidden_act", "gelu")),
        adapted=("attention.self.query", "attention.self.value"),
        layers_path="encoder.layer",
        layer_norm_parameters=2 * norm,
        embedding_parameters=rows * hidden + norm,
        pooler_parameters=hidden * (hidden + 1),
        frozen_pooler=True,
        head_linears=(Linear(name="classifier", in_features=hidden, out_features=1),),
        hidden_dropout=fraction(config, "hidden_dropout_prob", 0.1) > 0,
        attention_dropout=fraction(config, "attention_probs_dropout_prob", 0.1) > 0,
    )


def _token_types(config: Config, default: int) -> int:
    absent = config.get("type_vocab_size") == 0
    return 0 if absent else whole(config, "type_vocab_size", default=default)


def _encoder_linears(
    hidden: int,
    inner: int,
    *,
    attention: tuple[str, str, str],
    output: str,
    mlp: tuple[str, str],
) -> tuple[Linear, ...]:
    square = [Linear(name=n, in_features=hidden, out_features=hidden) for n in attention]
    return (
        *square,
        Linear(name=output, in_features=hidden, out_features=hidden),
        Linear(name=mlp[0], in_features=hidden, out_features=inner),
        Linear(name=mlp[1], in_features=inner, out_features=hidden),
    )


def _dense_head(hidden: int, inner: str, outer: str) -> tuple[Linear, Linear]:
    return (
        Linear(name=inner, in_features=hidden, out_features=hidden),
        Linear(name=outer, in_features=hidden, out_features=1),
    )


def roberta(config: Config) -> Architecture:
    """RoBERTa, XLM-RoBERTa and CamemBERT: BERT with a head in place of the pooler."""
    base = bert(config)
    head = _dense_head(base.hidden_size, "classifier.dense", "classifier.out_proj")
    return replace(
        base,
        # Positions count from behind the padding index.
        positions=max(1, base.positions - _padding_index(config) - 1),
        frozen_pooler=False,
        head_linears=head,
        head_input_dropout=True,
    )


def _padding_index(config: Config) -> int:
    index = config.get("pad_token_id") or 0
    if not isinstance(index, int):
        raise ConfigError(f"config: pad_token_id is {index!r}; expected a whole number")
    return index


def electra(config: Config) -> Architecture:
    """ELECTRA: BERT whose embeddings may be narrower, with a head in place of the pooler."""
    refuse(config, "add_cross_attention", "cross attention")
    base = bert(config)
    hidden, width = base.hidden_size, whole(config, "embedding_size", default=128)
    rows = base.vocabulary + base.positions + _token_types(config, default=2)
    projection = (width + 1) * hidden if width != hidden else 0
    return replace(
        base,
        embedding_size=width,
        embedding_parameters=(rows + 2) * width + projection,
        pooler_parameters=0,
        frozen_pooler=False,
        head_linears=_dense_head(hidden, "classifier.dense", "classifier.out_proj"),
        head_input_dropout=True,
        head_activation="gelu",
    )


def mpnet(config: Config) -> Architecture:
    """MPNet: RoBERTa with relative positions that all layers share."""
    base = roberta(config)
    hidden = base.hidden_size
    types = _token_types(config, default=2)
    return replace(
        base,
        linears=_encoder_linears(
            hidden,
            base.intermediate_size,
            attention=("attention.attn.q", "attention.attn.k", "attention.attn.v"),
            output="attention.attn.o",
            mlp=("intermediate.dense", "output.dense"),
        ),
        attention="position-bias",
        has_sdpa=False,
        adapted=("attention.attn.q", "attention.attn.v"),
        embedding_parameters=base.embedding_parameters - types * hidden,
        outside_parameters=base.heads
        * whole(config, "relative_attention_num_buckets", default=32),
    )


def distilbert(config: Config) -> Architecture:
    """DistilBERT: BERT without token types and pooler."""
    hidden = whole(config, "dim", "hidden_size")
    inner = whole(config, "hidden_dim", "intermediate_size")
    heads = whole(config, "n_heads", "num_attention_heads")
    rows = whole(config, "vocab_size") + whole(config, "max_position_embeddings", default=512)
    return Architecture(
        family="distilbert",
        layers=whole(config, "n_layers", "num_hidden_layers"),
        hidden_size=hidden,
        heads=heads,
        key_value_heads=heads,
        head_size=max(1, hidden // heads),
        intermediate_size=inner,
        vocabulary=whole(config, "vocab_size"),
        positions=whole(config, "max_position_embeddings", default=512),
        linears=_encoder_linears(
            hidden,
            inner,
            attention=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
            output="attention.out_lin",
            mlp=("ffn.lin1", "ffn.lin2"),
        ),
        attention="standard",
        activation=str(config.get("activation", "gelu")),
        adapted=("attention.q_lin", "attention.v_lin"),
        layers_path="transformer.layer",
        layer_norm_parameters=4 * hidden,
        embedding_parameters=rows * hidden + 2 * hidden,
        head_linears=_dense_head(hidden, "pre_classifier", "classifier"),
        hidden_dropout=fraction(config, "dropout", 0.1) > 0,
        attention_dropout=fraction(config, "attention_dropout", 0.1) > 0,
    )


def deberta_v2(config: Config) -> Architecture:
    """DeBERTa v2 and v3: attention to content and relative positions apart."""
    refuse(config, "conv_kernel_size", "a convolution layer")
    base = bert(config)
    hidden = base.hidden_size
    if whole(config, "embedding_size", default=hidden) != hidden:
        raise ConfigError("config: embedding_size differs from hidden_size; not supported")
    relative = bool(config.get("relative_attention", False))
    span = _deberta_span(config) if relative else 0
    names = [f"attention.self.{n}_proj" for n in ("query", "key", "value")]
    linears = _encoder_linears(
        hidden,
        base.intermediate_size,
        attention=(names[0], names[1], names[2]),
        output="attention.output.dense",
        mlp=("intermediate.dense", "output.dense"),
    )
    if relative and not config.get("share_att_key", False):
        linears += tuple(
            Linear(name=f"attention.self.{n}", in_features=hidden, out_features=hidden)
            for kind, n in (("c2p", "pos_key_proj"), ("p2c", "pos_query_proj"))
            if kind in (config.get("pos_att_type") or ())
        )
    norm = 2 * hidden if relative and "layer_norm" in str(config.get("norm_rel_ebd")) else 0
    return replace(
        base,
        linears=linears,
        attention="disentangled" if relative else "standard",
        has_sdpa=False,
        adapted=(names[0], names[2]),
        embedding_parameters=_deberta_rows(config) * hidden + 2 * hidden,
        outside_parameters=2 * span * hidden + norm,
        pooler_parameters=0,
        frozen_pooler=False,
        head_linears=_dense_head(hidden, "pooler.dense", "classifier"),
        head_activation="gelu",
        relative_positions=2 * span,
    )


def _deberta_rows(config: Config) -> int:
    rows = whole(config, "vocab_size")
    if config.get("position_biased_input", True):
        rows += whole(config, "max_position_embeddings", default=512)
    return rows + (_token_types(config, default=1) if "type_vocab_size" in config else 0)


def _deberta_span(config: Config) -> int:
    """Relative positions on one side: buckets where there are any, else the largest."""
    for key in ("position_buckets", "max_relative_positions"):
        stated = config.get(key)
        # -1 stands for none.
        if stated is not None and not (isinstance(stated, int) and stated <= 0):
            return whole(config, key)
    return whole(config, "max_position_embeddings", default=512)
