"""Folders of tiny models without weights, of the families that the profiler must know."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers
from transformers import PretrainedConfig

LAYERS = 3
_COMMON: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 70,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_GROUPED = {**_COMMON, "num_key_value_heads": 2}


def _gpt2() -> PretrainedConfig:
    return transformers.GPT2Config(
        vocab_size=97,
        n_embd=32,
        n_layer=LAYERS,
        n_head=4,
        n_positions=70,
        bos_token_id=1,
        eos_token_id=2,
    )


def _distilbert() -> PretrainedConfig:
    return transformers.DistilBertConfig(
        vocab_size=97,
        dim=32,
        n_layers=LAYERS,
        n_heads=4,
        hidden_dim=48,
        max_position_embeddings=70,
    )


def _deberta() -> PretrainedConfig:
    return transformers.DebertaV2Config(
        **_COMMON,
        relative_attention=True,
        position_buckets=16,
        pos_att_type=["p2c", "c2p"],
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        position_biased_input=False,
        type_vocab_size=0,
    )


def _gemma2() -> PretrainedConfig:
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    return transformers.Gemma2Config(
        **_GROUPED, head_dim=8, layer_types=kinds, sliding_window=4
    )


CONFIGS: dict[str, Callable[[], PretrainedConfig]] = {
    "bert": lambda: transformers.BertConfig(**_COMMON),
    "roberta": lambda: transformers.RobertaConfig(**_COMMON),
    "distilbert": _distilbert,
    "deberta-v2": _deberta,
    "mpnet": lambda: transformers.MPNetConfig(**_COMMON),
    "gpt2": _gpt2,
    "llama": lambda: transformers.LlamaConfig(**_GROUPED),
    "qwen2": lambda: transformers.Qwen2Config(**_GROUPED),
    "qwen3": lambda: transformers.Qwen3Config(**_GROUPED, head_dim=16),
    "gemma2": _gemma2,
    "phi3": lambda: transformers.Phi3Config(**_GROUPED),
    "opt": lambda: transformers.OPTConfig(**_COMMON, ffn_dim=48),
    "albert": lambda: transformers.AlbertConfig(**_COMMON, embedding_size=16),
    "longformer": lambda: transformers.LongformerConfig(**_COMMON, attention_window=8),
    "t5": transformers.T5Config,
    "qwen3_moe": lambda: transformers.Qwen3MoeConfig(**_GROUPED, num_experts=4),
}
FAMILIES = (
    "bert",
    "roberta",
    "distilbert",
    "deberta-v2",
    "mpnet",
    "gpt2",
    "llama",
    "qwen2",
    "qwen3",
    "phi3",
    "opt",
)


def model_folder(family: str, parent: Path) -> str:
    """Write the config of a tiny model; returns its folder."""
    folder = parent / family
    CONFIGS[family]().save_pretrained(folder)
    return str(folder)
