"""A tiny classifier of each family of models, saved as its base model alone, with a plan."""

from pathlib import Path
from typing import Any

from msgspec.structs import replace
from transformers import AutoConfig, AutoModelForSequenceClassification

from finetune.model.base import Base, load_base
from profiler.schema import Target, Training
from solver.plan import Plan
from tests.finetune.runs import make_plan

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
}
DISTILBERT = {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 32, "vocab_size": 50}
GPT2 = {"n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 40, "vocab_size": 50}
FAMILIES: dict[str, tuple[str, str, list[str]]] = {
    "bert": ("encoder.layer", "attention.self.query", ["classifier"]),
    "roberta": ("encoder.layer", "attention.self.query", ["classifier"]),
    "deberta-v2": ("encoder.layer", "attention.self.query_proj", ["pooler", "classifier"]),
    "mpnet": ("encoder.layer", "attention.attn.q", ["classifier"]),
    "distilbert": ("transformer.layer", "attention.q_lin", ["pre_classifier", "classifier"]),
    "gpt2": ("h", "attn.c_attn", ["score"]),
    "llama": ("layers", "self_attn.q_proj", ["score"]),
    "qwen2": ("layers", "self_attn.q_proj", ["score"]),
    "qwen3": ("layers", "self_attn.q_proj", ["score"]),
    "gemma3_text": ("layers", "self_attn.q_proj", ["score"]),
    "phi3": ("layers", "self_attn.qkv_proj", ["score"]),
}
EAGER = ("deberta-v2", "mpnet")
JOINT = ("gpt2", "phi3")


def save_family(
    folder: Path, family: str, *, named: bool = True, **sizes: Any
) -> tuple[Base, Plan]:
    """Save the base model, and load it back as a run would."""
    path, target, heads = FAMILIES[family]
    own = {"distilbert": DISTILBERT, "gpt2": GPT2}.get(family, SIZES)
    more = {"head_dim": 8} if family in ("qwen3", "gemma3_text") else {}
    config = AutoConfig.for_model(family, **{**own, **more, **sizes})
    model = AutoModelForSequenceClassification.from_config(config)
    model.base_model.save_pretrained(folder)
    head_parameters = sum(
        p.numel() for name in heads for p in model.get_submodule(name).parameters()
    )
    training = Training(
        batch_size=2, sequence_length=16, attention="eager" if family in EAGER else "sdpa"
    )
    plan = make_plan(training=training)
    plan = replace(
        plan,
        model=replace(
            plan.model,
            family=family,
            layers_path=path,
            targets=[
                Target(name=target, in_features=16, out_features=48 if family in JOINT else 16)
            ],
            head_modules=heads if named else [],
            head_parameters=head_parameters,
        ),
    )
    return load_base(plan, folder, seed=0, pad_id=0), plan
