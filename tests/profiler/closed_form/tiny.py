"""Configs of tiny models of every family."""

from typing import Any

from transformers import (
    AutoConfig,
)

LABELS = 3

ENCODER = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "vocab_size": 50,
    "max_position_embeddings": 32,
}

DECODER = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 40,
    "vocab_size": 50,
}

TINY: dict[str, dict[str, Any]] = {
    "bert": ENCODER,
    "roberta": ENCODER,
    "xlm-roberta": ENCODER,
    "camembert": ENCODER,
    "mpnet": ENCODER,
    "electra": ENCODER | {"embedding_size": 16},
    "modernbert": ENCODER | {"pad_token_id": 0, "classifier_pooling": "mean"},
    "distilbert": {"dim": 24, "n_layers": 3, "n_heads": 3, "hidden_dim": 40, "vocab_size": 50},
    "deberta-v2": ENCODER
    | {
        "relative_attention": True,
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": "p2c|c2p",
        "position_biased_input": False,
        "type_vocab_size": 0,
    },
    "gpt2": {"n_embd": 24, "n_layer": 3, "n_head": 3, "vocab_size": 50, "n_positions": 32},
    "llama": DECODER,
    "mistral": DECODER,
    "qwen2": DECODER,
    "qwen3": DECODER | {"head_dim": 16},
    "gemma": DECODER | {"head_dim": 16, "num_key_value_heads": 1},
    "gemma2": DECODER | {"head_dim": 16},
    "gemma3_text": DECODER | {"head_dim": 16, "sliding_window_pattern": 2},
    "phi3": DECODER | {"pad_token_id": 0},
    "granite": DECODER,
    "olmo2": DECODER,
    "smollm3": DECODER | {"pad_token_id": 0, "no_rope_layer_interval": 2},
    "starcoder2": DECODER,
    "gpt_neox": ENCODER | {"rotary_pct": 0.5, "pad_token_id": 0},
    "opt": ENCODER | {"ffn_dim": 40},
}


def tiny(family: str, **changes: Any) -> Any:
    return AutoConfig.for_model(family, **{**TINY[family], **changes}, num_labels=LABELS)
