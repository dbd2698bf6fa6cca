"""Layers that are stood in for change no loss and no weight, to the last bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from finetune.data.tokens import Batch, Tokenised
from finetune.local.train import LocalSettings, train
from finetune.model.base import Base, load_base
from finetune.model.prefix import Prefix
from finetune.model.replica import Replica
from finetune.model.state import State
from profiler.schema import Training
from solver.plan import InputError, Plan
from tests.finetune.families import FAMILIES, save_family
from tests.finetune.runs import TARGETS, Family, make_plan

SETTINGS = LocalSettings("adamw", 1e-2, 0.0, frozen_dropout=False)
RANKS = {1: [0, 3, 4], 2: [0, 0, 4], 3: [0, 0, 0]}


def batches_of(*, causal: bool = False) -> list[Batch]:
    """Three batches of unlike lengths; the first comes again."""
    data = Tokenised(
        [[5, 6, 7, 9], [8, 9], [7, 7, 7], [4], [3, 8, 6, 6, 9], [2, 9, 4]],
        np.array([0, 1, 0, 1, 1, 0]),
        pad_id=0,
        causal=causal,
    )
    return [data.batch(indices) for indices in ([0, 1], [2, 3], [4, 5], [0, 1])]


def trained(
    base: Base, plan: Plan, ranks: list[int], batches: list[Batch], *, cached: bool
) -> tuple[float, State]:
    """Train with states of an earlier pass, or as a plain loop does."""
    replica = Replica(base, plan, ranks, seed=0)
    states = None
    if cached:
        replica.train_mode(frozen_dropout=False)
        states = [replica.prefix_states(batch) for batch in batches[:3]]
        states.append(states[0])
    return train(replica, batches, SETTINGS, 5, states), replica.state()


def assert_same(one: tuple[float, State], other: tuple[float, State]) -> None:
    assert one[0] == other[0]
    assert all(torch.equal(one[1][name], tensor) for name, tensor in other[1].items())


@pytest.mark.parametrize("family", list(FAMILIES))
def test_cached_states_change_no_bit_of_any_family(tmp_path: Path, family: str) -> None:
    sizes: dict[str, Any] = {"conv_kernel_size": 3} if family == "deberta-v2" else {}
    base, plan = save_family(tmp_path, family, **sizes)
    for ranks in RANKS.values():
        plain = trained(base, plan, ranks, batches_of(), cached=False)
        assert_same(trained(base, plan, ranks, batches_of(), cached=True), plain)


@pytest.mark.parametrize("change", [{"dtype": "bfloat16"}, {"gradient_checkpointing": True}])
def test_cached_states_change_no_bit_in_other_setups(
    models: Callable[[Family], Path], change: dict[str, Any]
) -> None:
    training = replace(Training(batch_size=2, sequence_length=16), **change)
    plan = make_plan(training=training)
    base = load_base(plan, models("bert"), seed=0, pad_id=0)
    plain = trained(base, plan, RANKS[1], batches_of(), cached=False)
    assert_same(trained(base, plan, RANKS[1], batches_of(), cached=True), plain)


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set:UserWarning")
@pytest.mark.parametrize(
    ("family", "task"),
    [("bert", "classification"), ("gpt2", "causal-lm"), ("llama", "causal-lm")],
)
def test_a_cached_prefix_equals_a_plain_peft_loop_with_the_prefix_in_eval_mode(
    models: Callable[[Family], Path], family: Family, task: str
) -> None:
    causal = task == "causal-lm"
    plan = make_plan(family, task="causal-lm" if causal else "classification")
    base = load_base(plan, models(family), seed=0, pad_id=0)
    batches, ranks = batches_of(causal=causal), RANKS[1]
    start = Replica(base, plan, ranks, seed=0).state()
    result = trained(base, plan, ranks, batches, cached=True)

    kind = AutoModelForCausalLM if causal else AutoModelForSequenceClassification
    plain = kind.from_pretrained(models(family), pad_token_id=0)
    names = {
        plan.model.module_name(layer, name): rank
        for layer, rank in enumerate(ranks)
        for name, _, _ in TARGETS[family]
        if rank
    }
    config = LoraConfig(
        r=4,
        target_modules=list(names),
        rank_pattern=names,
        alpha_pattern={name: 2 * rank for name, rank in names.items()},
        modules_to_save=plan.model.head_modules or None,
        fan_in_fan_out=family == "gpt2",
    )
    model = get_peft_model(plain, config)
    for name, tensor in model.state_dict().items():
        saved = name.replace(".modules_to_save.default.", ".").replace(".default.", ".")
        if saved in start and ("lora_" in name or "modules_to_save" in name):
            tensor.copy_(start[saved])
    torch.manual_seed(5)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2)
    model.train()
    frozen = {
        "bert": ["bert.embeddings", "bert.encoder.layer.0"],
        "gpt2": ["transformer.drop", "transformer.h.0"],
        "llama": ["model.layers.0"],
    }
    for name in frozen[family]:
        plain.get_submodule(name).eval()
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    expected = get_peft_model_state_dict(model, save_embedding_layers=False)
    assert_same(result, (sum(losses) / len(losses), expected))
    assert any(not torch.equal(result[1][name], start[name]) for name in start)


def test_adapted_layers_keep_their_dropout_and_frozen_ones_lose_it(tmp_path: Path) -> None:
    base, plan = save_family(tmp_path, "bert")
    replica = Replica(base, plan, RANKS[2], seed=0)
    replica.train_mode(frozen_dropout=False)
    dropout = {
        name: module.training
        for name, module in replica.model.named_modules()
        if isinstance(module, torch.nn.Dropout)
    }
    on = {name.removeprefix("base_model.model.") for name, is_on in dropout.items() if is_on}
    assert on == {
        "bert.encoder.layer.2.attention.self.dropout",
        "bert.encoder.layer.2.attention.output.dropout",
        "bert.encoder.layer.2.output.dropout",
        "dropout",
    }
    replica.train_mode(frozen_dropout=True)
    assert all(module.training for module in replica.model.modules())


class Leaky(torch.nn.Module):
    """A model whose second layer also reads what the first left beside its output."""

    class Layer(torch.nn.Module):
        def __init__(self, notes: list[torch.Tensor]) -> None:
            super().__init__()
            self.notes = notes

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.notes.append(x)
            return x + sum(self.notes)

    def __init__(self) -> None:
        super().__init__()
        notes: list[torch.Tensor] = []
        self.notes = notes
        self.layers = torch.nn.ModuleList([Leaky.Layer(notes), Leaky.Layer(notes)])

    def forward(self, input_ids: torch.Tensor, **_: object) -> Any:
        self.notes.clear()
        x = input_ids.float()
        for layer in self.layers:
            x = layer(x)
        return type("Output", (), {"logits": x})


def test_layers_that_hand_on_more_than_hidden_states_are_refused() -> None:
    model = Leaky()
    with pytest.raises(InputError, match="hand on more than hidden states"):
        Prefix(model, model.layers, 1, 50)
