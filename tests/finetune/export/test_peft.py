"""The exported folders, read back by the real PEFT on tiny models."""

import json
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model

from finetune.export.files import write_export
from finetune.export.peft import render
from solver.plan import Configuration, Lora, Plan
from tests.finetune.export.peft_models import bert, gpt2, gpt2_lm, llama, lora_modules
from tests.finetune.plans import plan_to_show

# PEFT asks a transformers attribute that the newest release calls deprecated; not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is:FutureWarning")


def exported(plan: Plan, folder: Path) -> list[Path]:
    write_export(render(plan), folder)
    return sorted(folder.glob("configuration-*"))


@pytest.mark.parametrize("build", [bert, gpt2, gpt2_lm, llama])
def test_peft_builds_just_what_was_planned(build: object, tmp_path: Path) -> None:
    assert callable(build)
    _, model, task = build()
    plan = plan_to_show(model, depths=(1, 2, 3, 11, 12), task=task)
    folders = exported(plan, tmp_path)
    assert len(folders) == 5
    for shape, folder in zip(plan.configurations, sorted(folders), strict=True):
        base = build()[0]
        base.name_or_path = model.name
        adapted = get_peft_model(base, LoraConfig.from_pretrained(folder))
        _compare(plan, shape, adapted)


def _compare(plan: Plan, shape: Configuration, adapted: PeftModel) -> None:
    model, modules = plan.model, lora_modules(adapted)
    expected = {
        model.module_name(layer, target.name): (rank, target)
        for layer, rank in enumerate(shape.ranks)
        for target in model.targets
        if rank
    }
    assert len(modules) == len(expected)
    for name, module in modules.items():
        (key,) = (k for k in expected if name == k or name.endswith(f".{k}"))
        rank, target = expected[key]
        assert module.r["default"] == rank
        assert module.scaling["default"] == plan.lora.scaling
        assert module.lora_A["default"].weight.shape == (rank, target.in_features)
        assert module.lora_B["default"].weight.shape == (target.out_features, rank)
    lora = sum(p.numel() for n, p in adapted.named_parameters() if "lora_" in n)
    per_rank = sum(t.in_features + t.out_features for t in model.targets)
    assert lora == sum(shape.ranks) * per_rank
    trained = {n for n, p in adapted.named_parameters() if p.requires_grad and "lora_" not in n}
    assert all(any(head in name for head in model.head_modules) for name in trained)
    assert bool(trained) == bool(model.head_modules)


def test_layer_1_is_not_taken_for_10_or_11(tmp_path: Path) -> None:
    base, model, _ = bert()
    base.name_or_path = model.name  # type: ignore[assignment]
    (folder,) = exported(plan_to_show(model, depths=(2,)), tmp_path)
    adapted = get_peft_model(base, LoraConfig.from_pretrained(folder))
    touched = {name.split(".layer.")[1].split(".")[0] for name in lora_modules(adapted)}
    assert touched == {"10", "11"}


def test_an_adapter_saved_by_peft_loads_with_the_exported_names(tmp_path: Path) -> None:
    base, model, _ = bert()
    base.name_or_path = model.name  # type: ignore[assignment]
    (folder,) = exported(plan_to_show(model, depths=(5,)), tmp_path / "export")
    adapted = get_peft_model(base, LoraConfig.from_pretrained(folder))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.5)
    adapted.save_pretrained(tmp_path / "saved", save_embedding_layers=False)
    again = PeftModel.from_pretrained(bert()[0], tmp_path / "saved")
    weights = [p for n, p in again.named_parameters() if "lora_B" in n]
    assert weights
    assert all(torch.all(w == 0.5) for w in weights)


def test_the_configuration_reads_as_a_generic_peft_configuration(tmp_path: Path) -> None:
    (folder,) = exported(plan_to_show(depths=(5,)), tmp_path)
    config = PeftConfig.from_pretrained(folder)
    assert isinstance(config, LoraConfig)
    assert config.base_model_name_or_path == "tiny"


def test_devices_json_names_every_device_and_its_folder(tmp_path: Path) -> None:
    plan = plan_to_show(depths=(0, 6))
    export = render(plan)
    write_export(export, tmp_path)
    index = json.loads((tmp_path / "devices.json").read_text(encoding="utf-8"))
    assert list(index["devices"]) == [d.name for d in plan.devices]
    folders = [index["devices"][d.name]["folder"] for d in plan.devices]
    assert folders == [None, "configuration-1"] * 4 + [None]
    assert [c["ranks"] for c in index["configurations"]] == [
        c.ranks for c in plan.configurations
    ]
    assert not (tmp_path / "configuration-0").exists()
    assert "4 devices train the head only" in export.notes[0]
    assert "1 devices do not take part" in export.notes[1]


def test_a_hostile_device_name_stays_a_json_key(tmp_path: Path) -> None:
    plan = plan_to_show()
    evil = replace(plan.devices[0], name="../../evil\n\x00")
    write_export(render(replace(plan, devices=[evil, *plan.devices[1:]])), tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_alpha_follows_the_lora_scaling() -> None:
    plan = replace(
        plan_to_show(depths=(2,)), lora=Lora(parameters_per_rank=[16] * 12, scaling=0.5)
    )
    config = json.loads(render(plan).files["configuration-0/adapter_config.json"])
    name = "encoder.layer.11.attention.self.query"
    assert config["alpha_pattern"][name] == 0.5 * config["rank_pattern"][name] == 6.5
