"""The families of models that a plan may be for: built, trained and saved by PEFT's names."""

from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from transformers import AutoConfig, AutoModelForSequenceClassification

from finetune.base import load_base
from finetune.local import LocalSettings, train
from finetune.replica import Replica
from finetune.tokens import Tokenised
from profiler.schema import Target, Training
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
FAMILIES = {
    "roberta": ("encoder.layer", "attention.self.query", ["classifier"]),
    "deberta-v2": ("encoder.layer", "attention.self.query_proj", ["pooler", "classifier"]),
    "mpnet": ("encoder.layer", "attention.attn.q", ["classifier"]),
    "distilbert": ("transformer.layer", "attention.q_lin", ["pre_classifier", "classifier"]),
    "qwen2": ("layers", "self_attn.q_proj", ["score"]),
}


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_family_trains_adapters_and_head_only(
    tmp_path: Path, family: str, named: bool
) -> None:
    path, target, heads = FAMILIES[family]
    sizes = {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 32, "vocab_size": 50}
    config = AutoConfig.for_model(family, **(sizes if family == "distilbert" else SIZES))
    model = AutoModelForSequenceClassification.from_config(config)
    model.base_model.save_pretrained(tmp_path)
    head_parameters = sum(
        p.numel() for name in heads for p in model.get_submodule(name).parameters()
    )
    eager = family in ("deberta-v2", "mpnet")
    training = Training(
        batch_size=2, sequence_length=16, attention="eager" if eager else "sdpa"
    )
    plan = make_plan(training=training)
    plan = replace(
        plan,
        model=replace(
            plan.model,
            family=family,
            layers_path=path,
            targets=[Target(name=target, in_features=16, out_features=16)],
            head_modules=heads if named else [],
            head_parameters=head_parameters,
        ),
    )
    base = load_base(plan, tmp_path, seed=0, pad_id=0)
    assert sorted(base.head_modules) == sorted(heads)
    replica = Replica(base, plan, [0, 3, 4], seed=0)
    start = replica.state()
    adapted = sum(t.numel() for n, t in start.items() if "lora_" in n)
    assert adapted == (3 + 4) * 32
    assert sum(t.numel() for t in start.values()) == adapted + head_parameters
    data = Tokenised([[5, 6, 7], [8, 9]], np.array([0, 1]), pad_id=0, causal=False)
    train(replica, [data.batch([0, 1])] * 2, LocalSettings("adamw", 1e-2, 0), seed=0)
    assert all(not torch.equal(t, start[n]) for n, t in replica.state().items())
