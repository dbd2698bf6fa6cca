"""Exports for other trainers: their files, and what they refuse to lose in silence."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from msgspec.structs import replace
from peft import LoraConfig, get_peft_model

from finetune.cli.export import export
from finetune.export.files import yaml_bytes
from finetune.export.registry import TARGETS
from solver.plan import Configuration, InputError, Plan, write
from tests.finetune.export.peft_models import causal_plan, llama, lora_modules
from tests.finetune.plans import plan_to_show


def uniform(plan: Plan, rank: int) -> Plan:
    shapes = [
        Configuration(depth=c.depth, ranks=[rank if r else 0 for r in c.ranks])
        for c in plan.configurations
    ]
    return replace(plan, configurations=shapes)


def files(target: str, plan: Plan) -> dict[str, Any]:
    return {n: yaml.safe_load(data) for n, data in TARGETS[target](plan).files.items()}


def test_yaml_reads_back_as_it_was_meant() -> None:
    value = {"a": {"b.c": [1, {"d": 1e-05, "e: f": [], "g": None}], "h": True, "i": "1 #"}}
    assert yaml.safe_load(yaml_bytes(value, "two\nlines")) == value


def test_axolotl_gets_every_layers_rank() -> None:
    plan = causal_plan()
    export = TARGETS["axolotl"](plan)
    assert export.losses == []
    # What a plan calls the model need be neither a folder nor a hub id.
    assert any(f"base model is {plan.model.name}" in note for note in export.notes)
    for index, shape in enumerate(plan.configurations):
        said = yaml.safe_load(export.files[f"configuration-{index}/axolotl.yaml"])
        config = LoraConfig(
            r=said["lora_r"],
            lora_alpha=said["lora_alpha"],
            target_modules=said["lora_target_modules"],
            rank_pattern=said["lora_rank_pattern"],
            alpha_pattern=said["lora_alpha_pattern"],
        )
        built = lora_modules(get_peft_model(llama()[0], config))
        assert len(built) == shape.depth * len(plan.model.targets)
        for name, module in built.items():
            layer = int(name.split("layers.")[1].split(".")[0])
            assert module.r["default"] == shape.ranks[layer]
            assert module.scaling["default"] == plan.lora.scaling


def test_axolotl_says_that_its_alphas_are_whole() -> None:
    assert TARGETS["axolotl"](causal_plan(scaling=0.5)).losses[0].startswith("axolotl takes wh")


def test_llama_factory_keeps_one_rank_and_says_what_is_lost() -> None:
    export = TARGETS["llama-factory"](causal_plan())
    assert "become 12" in export.losses[0]  # ranks 12 and 13
    assert TARGETS["llama-factory"](uniform(causal_plan(), 8)).losses == []
    said = files("llama-factory", uniform(causal_plan(), 8))[
        "configuration-0/llama-factory.yaml"
    ]
    assert (said["lora_rank"], said["lora_alpha"]) == (8, 16)
    assert len(said["lora_target"].split(",")) == 2 * 3


def test_mlx_counts_layers_from_the_output_as_plans_do() -> None:
    assert "become 12" in TARGETS["mlx"](causal_plan()).losses[0]  # ranks 12 and 13
    plan = uniform(causal_plan(depths=(0, 2, 3)), 8)
    assert TARGETS["mlx"](plan).losses == []
    said = files("mlx", plan)
    # A depth of 0 would be all layers there.
    assert sorted(said) == [
        "configuration-1/mlx.yaml",
        "configuration-2/mlx.yaml",
        "devices.json",
    ]
    fields = said["configuration-1/mlx.yaml"]
    assert fields["num_layers"] == 2
    assert fields["iters"] == plan.devices[1].local_steps
    assert fields["lora_parameters"] == {
        "keys": [target.name for target in plan.model.targets],
        "rank": 8,
        "scale": plan.lora.scaling,
        "dropout": 0.0,
    }


@pytest.mark.parametrize("target", ["fate", "fs-llm"])
def test_one_shape_for_all_is_the_common_part(target: str) -> None:
    plan = causal_plan()
    export = TARGETS[target](plan)
    assert "2 shapes (depth up to 3) become their common part, depth 2" in export.losses[0]
    assert TARGETS[target](causal_plan(depths=(3,))).losses == []
    said = files(target, plan)
    if target == "fate":
        fields = said["fate.json"]["model"]["peft_config"]
    else:
        (fields,) = said["fs-llm.yaml"]["llm"]["adapter"]["args"]
        assert fields.pop("adapter_package") == "peft"
        assert fields.pop("adapter_method") == "lora"
    built = lora_modules(get_peft_model(llama()[0], LoraConfig(**fields)))
    assert {m.r["default"] for m in built.values()} == {12, 13}
    with pytest.raises(InputError, match="some device of the plan adapts no layer"):
        TARGETS[target](causal_plan(depths=(0, 2)))


@pytest.mark.parametrize("target", ["axolotl", "llama-factory", "mlx", "fs-llm"])
def test_a_classifier_is_refused_by_causal_trainers(target: str) -> None:
    with pytest.raises(InputError, match="trains causal language models only"):
        TARGETS[target](plan_to_show())


def test_a_loss_is_refused_until_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "plan.json", causal_plan())
    arguments = [
        str(tmp_path / "plan.json"),
        "--to",
        "llama-factory",
        "-o",
        str(tmp_path / "o"),
    ]
    refused = CliRunner().invoke(export, arguments)
    assert isinstance(refused.exception, InputError)
    assert "one rank for all layers" in str(refused.exception)
    assert "\n" not in str(refused.exception)
    assert not (tmp_path / "o").exists()
    written = CliRunner().invoke(export, [*arguments, "--lossy", "--json"])
    assert written.exit_code == 0
    assert json.loads(written.stdout)["losses"]


def test_a_base_in_4_bits_is_asked_for_or_said_to_be_lost(tmp_path: Path) -> None:
    plan = causal_plan()
    plan = replace(plan, training=replace(plan.training, base_dtype="nf4"))
    said = files("axolotl", plan)["configuration-0/axolotl.yaml"]
    assert (said["adapter"], said["load_in_4bit"]) == ("qlora", True)
    said = files("llama-factory", plan)["configuration-0/llama-factory.yaml"]
    assert (said["quantization_bit"], said["double_quantization"]) == (4, True)
    write(tmp_path / "plan.json", plan)

    def exported(target: str) -> Any:
        arguments = [str(tmp_path / "plan.json"), "--to", target, "-o", str(tmp_path / target)]
        return CliRunner().invoke(export, [*arguments, "--json"])

    assert any("load_in_4bit=True" in n for n in json.loads(exported("peft").stdout)["notes"])
    assert "loads the base in full" in str(exported("nvflare").exception)
