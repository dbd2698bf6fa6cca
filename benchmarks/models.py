"""Model folders without weights, of several architectures and sizes."""

import json
from pathlib import Path
from typing import Any

from profiler.configs import load_config

__all__ = ["BASE", "MEDIUM", "TINY", "write_config"]

_ENCODER = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}


def _sizes(hidden: int, layers: int, heads: int, vocabulary: int) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * hidden,
        "max_position_embeddings": 514,
        "pad_token_id": 0,
    }


def _gpt2(hidden: int, layers: int, heads: int, vocabulary: int) -> dict[str, Any]:
    return {
        "model_type": "gpt2",
        "vocab_size": vocabulary,
        "n_embd": hidden,
        "n_layer": layers,
        "n_head": heads,
        "n_positions": 514,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }


def _family(hidden: int, layers: int, heads: int, vocabulary: int) -> dict[str, dict[str, Any]]:
    sizes = _sizes(hidden, layers, heads, vocabulary)
    return {
        "bert": {"model_type": "bert", "type_vocab_size": 2, **_ENCODER, **sizes},
        "roberta": {"model_type": "roberta", "type_vocab_size": 1, **_ENCODER, **sizes},
        "gpt2": _gpt2(hidden, layers, heads, vocabulary),
        "llama": {"model_type": "llama", "num_key_value_heads": heads // 2, **sizes},
    }


def _named(size: str, configs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {f"{family}-{size}": config for family, config in configs.items()}


# 4 layers of width 64, and 8 of width 256: large enough for every kernel to take its usual
# path, small enough for real steps on two cores.
TINY = _named("tiny", _family(64, 4, 4, 1000))
MEDIUM = _named("medium", _family(256, 8, 8, 8000))
# Stands for a base model of 12 layers in timings.
BASE = "roberta-base"


def write_config(name: str, parent: Path) -> Path:
    """Write ``config.json`` of a model above or of a preset into a folder of its name."""
    config = {**TINY, **MEDIUM}.get(name) or load_config(name)[1]
    folder = parent / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
