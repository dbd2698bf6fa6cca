"""Local training is what a plain PEFT loop gives, bit for bit, and frozen is frozen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from finetune.local.train import LocalSettings, train
from finetune.model.base import load_base
from finetune.model.replica import Replica
from profiler.schema import Training
from solver.plan import InputError
from tests.finetune.runs import TARGETS, Family, base_of, batches_of, make_plan

Models = Callable[[Family], Path]
CASES: list[tuple[Family, str, list[int]]] = [
    ("bert", "classification", [0, 3, 4]),
    ("gpt2", "classification", [0, 0, 2]),
    ("llama", "classification", [1, 3, 4]),
    ("gpt2", "causal-lm", [0, 3, 4]),
]


def test_a_base_in_4_bits_is_run_only_as_another(models: Models) -> None:
    plan = make_plan("llama", task="causal-lm")
    plan = replace(plan, training=replace(plan.training, base_dtype="nf4"))
    with pytest.raises(InputError, match="base is in nf4, which no run here has; export"):
        base_of(plan, models("llama"))
    assert load_base(plan, models("llama"), seed=0, pad_id=0, dtype="float32")


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is:FutureWarning")
@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set:UserWarning")
@pytest.mark.parametrize(("family", "task", "ranks"), CASES)
@pytest.mark.parametrize("clip_norm", [0.0, 0.1])
def test_local_training_equals_a_plain_peft_loop(
    models: Models, family: Family, task: str, ranks: list[int], clip_norm: float
) -> None:
    plan = make_plan(family, task="causal-lm" if task == "causal-lm" else "classification")
    folder = models(family)
    batches = batches_of(plan, folder)
    replica = Replica(base_of(plan, folder), plan, ranks, seed=0)
    start = replica.state()
    loss = train(replica, batches, LocalSettings("adamw", 1e-2, clip_norm), seed=5)

    kind = AutoModelForCausalLM if task == "causal-lm" else AutoModelForSequenceClassification
    plain = kind.from_pretrained(folder, pad_token_id=0)
    names = {
        plan.model.module_name(layer, name): rank
        for layer, rank in enumerate(ranks)
        for name, _, _ in TARGETS[family]
        if rank
    }
    model = get_peft_model(
        plain,
        LoraConfig(
            r=max(ranks),
            target_modules=list(names),
            rank_pattern=names,
            alpha_pattern={name: 2 * rank for name, rank in names.items()},
            modules_to_save=plan.model.head_modules or None,
            fan_in_fan_out=family == "gpt2",
        ),
    )
    state = model.state_dict()
    for name in state:
        saved = name.replace(".modules_to_save.default.", ".").replace(".default.", ".")
        if saved in start and ("lora_" in name or "modules_to_save" in name):
            state[name].copy_(start[saved])
    torch.manual_seed(5)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    model.train()
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        output = model(**batch)
        output.loss.backward()
        if clip_norm:
            torch.nn.utils.clip_grad_norm_(trained, clip_norm)
        optimizer.step()
        losses.append(output.loss.item())

    expected = get_peft_model_state_dict(model, save_embedding_layers=False)
    result = replica.state()
    assert result.keys() == expected.keys()
    assert all(torch.equal(result[name], expected[name]) for name in expected)
    assert any(not torch.equal(result[name], start[name]) for name in start)
    assert loss == sum(losses) / len(losses)


def test_replicas_share_the_base_and_train_nothing_of_it(models: Models) -> None:
    plan = make_plan()
    base = base_of(plan, models("bert"))
    before = {name: p.clone() for name, p in base.model.named_parameters()}
    shallow = Replica(base, plan, [0, 0, 4], seed=0)
    deep = Replica(base, plan, [2, 3, 4], seed=0)
    untouched = deep.state()
    train(shallow, batches_of(plan, models("bert")), LocalSettings("adamw", 1e-2, 0), seed=1)

    storages = {p.data_ptr() for p in base.model.parameters()}
    for replica in (shallow, deep):
        frozen = [p for p in replica.model.parameters() if not p.requires_grad]
        assert {p.data_ptr() for p in frozen} == storages
        assert all(p.grad is None for p in frozen)
    assert all(torch.equal(p, before[n]) for n, p in base.model.named_parameters())
    assert all(torch.equal(p, untouched[n]) for n, p in deep.state().items())


def test_depth_0_trains_the_head_alone(models: Models) -> None:
    plan = make_plan()
    replica = Replica(base_of(plan, models("bert")), plan, [0, 0, 0], seed=0)
    start = replica.state()
    head = "base_model.model.classifier"
    assert set(start) == {f"{head}.weight", f"{head}.bias"}
    train(replica, batches_of(plan, models("bert")), LocalSettings("sgd", 0.1, 0), seed=1)
    assert not torch.equal(replica.state()[f"{head}.bias"], start[f"{head}.bias"])


def test_depth_0_without_a_head_is_refused(models: Models) -> None:
    plan = make_plan("gpt2", task="causal-lm")
    with pytest.raises(InputError, match="depth 0 has nothing to train"):
        Replica(base_of(plan, models("gpt2")), plan, [0, 0, 0], seed=0)


def test_without_dropout_the_seed_of_training_has_no_effect(models: Models) -> None:
    def trained(dropout: bool, seed: int) -> torch.Tensor:
        plan = make_plan(dropout=dropout)
        replica = Replica(base_of(plan, models("bert")), plan, [2, 3, 4], seed=0)
        settings = LocalSettings("adamw", 1e-2, 0)
        train(replica, batches_of(plan, models("bert")), settings, seed)
        return torch.cat([t.flatten() for t in replica.state().values()])

    assert torch.equal(trained(False, 1), trained(False, 2))
    assert not torch.equal(trained(True, 1), trained(True, 2))


def test_gradient_checkpointing_changes_no_gradient(models: Models) -> None:
    def trained(checkpointing: bool) -> torch.Tensor:
        training = Training(
            batch_size=2,
            sequence_length=16,
            dropout=False,
            gradient_checkpointing=checkpointing,
        )
        plan = make_plan(training=training)
        replica = Replica(base_of(plan, models("bert")), plan, [0, 3, 4], seed=0)
        settings = LocalSettings("adamw", 1e-2, 0)
        train(replica, batches_of(plan, models("bert")), settings, seed=1)
        layer: Any = replica.model.get_submodule("base_model.model.bert.encoder.layer.0")
        assert layer.gradient_checkpointing is checkpointing
        return torch.cat([t.flatten() for t in replica.state().values()])

    torch.testing.assert_close(trained(True), trained(False))


def test_bfloat16_trains_float32_adapters_on_a_bfloat16_base(models: Models) -> None:
    training = Training(batch_size=2, sequence_length=16, dtype="bfloat16")
    plan = make_plan(training=training)
    base = base_of(plan, models("bert"))
    replica = Replica(base, plan, [0, 3, 4], seed=0)
    start = replica.state()
    train(replica, batches_of(plan, models("bert")), LocalSettings("adamw", 1e-2, 0), seed=1)
    assert {p.dtype for p in base.model.parameters()} == {torch.bfloat16}
    assert {t.dtype for t in replica.state().values()} == {torch.float32}
    assert any(not torch.equal(t, start[n]) for n, t in replica.state().items())
