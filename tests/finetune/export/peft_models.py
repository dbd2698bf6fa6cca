"""Tiny models of several families with what a plan says of them, and their LoRA modules."""

from typing import Any

from msgspec.structs import replace
from peft import PeftModel
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from solver.plan import Lora, Model, Plan
from tests.finetune.plans import make_model, plan_to_show

LAYERS = 12


SMALL = {"vocab_size": 32, "num_hidden_layers": LAYERS, "hidden_size": 8}


def bert() -> tuple[nn.Module, Model, str]:
    config = BertConfig(
        **SMALL, num_attention_heads=2, intermediate_size=16, max_position_embeddings=16
    )
    targets = (
        ("attention.self.query", 8, 8),
        ("attention.output.dense", 8, 8),
        ("output.dense", 16, 8),
    )
    return BertForSequenceClassification(config), make_model(targets=targets), "classification"


def gpt2() -> tuple[nn.Module, Model, str]:
    config = GPT2Config(
        vocab_size=32, n_layer=LAYERS, n_embd=8, n_head=2, n_positions=16, pad_token_id=0
    )
    targets = (("attn.c_attn", 8, 24), ("mlp.c_proj", 32, 8))
    model = make_model("gpt2", LAYERS, "h", targets, ("score",))
    return GPT2ForSequenceClassification(config), model, "classification"


def gpt2_lm() -> tuple[nn.Module, Model, str]:
    config = GPT2Config(vocab_size=32, n_layer=LAYERS, n_embd=8, n_head=2, n_positions=16)
    model = make_model("gpt2", LAYERS, "h", (("attn.c_attn", 8, 24),), ())
    return GPT2LMHeadModel(config), model, "causal-lm"


def llama() -> tuple[nn.Module, Model, str]:
    config = LlamaConfig(
        **SMALL,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=16,
        max_position_embeddings=16,
    )
    targets = (("self_attn.q_proj", 8, 8), ("self_attn.v_proj", 8, 4), ("mlp.up_proj", 8, 16))
    return (
        LlamaForCausalLM(config),
        make_model("llama", LAYERS, "layers", targets, ()),
        "causal-lm",
    )


def lora_modules(model: PeftModel) -> dict[str, Any]:
    return {
        name.split("base_model.model.")[-1]: module
        for name, module in model.named_modules()
        if hasattr(module, "lora_A") and not name.endswith("lora_A")
    }


def causal_plan(depths: tuple[int, ...] = (2, 3), scaling: float = 2.0) -> Plan:
    _, model, task = llama()
    lora = Lora(parameters_per_rank=[40] * model.layers, scaling=scaling)
    return replace(plan_to_show(model, depths=depths, task=task), lora=lora)
