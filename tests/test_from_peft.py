"""PEFT adapters as plans: what PEFT builds is what is planned; the rest is refused plainly."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from finetune.export.files import write_export
from finetune.export.peft import render
from profiler.schema import Fleet, InputError, read_fleet
from solver.check import check
from solver.cli.compare import compare
from solver.cli.plan_from_peft import plan_from_peft
from solver.errors import Infeasible
from solver.from_peft import read_adapter
from solver.imported import read_import
from solver.plan import read_plan

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
FLEET = EXAMPLES / "fleet.json"
BOTH = ["query", "value"]


def fleet() -> Fleet:
    return read_fleet(FLEET)


def bert() -> nn.Module:
    config = BertConfig(
        vocab_size=1000,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=128,
    )
    model: nn.Module = BertForSequenceClassification(config)
    return model


def saved(folder: Path, *, weights: bool, **fields: Any) -> Path:
    """Save what PEFT makes of a configuration, with its weights or without."""
    plain = {"task_type": "SEQ_CLS", "lora_alpha": 16, "target_modules": BOTH} | fields
    config = LoraConfig(**plain)
    if weights:
        get_peft_model(bert(), config).save_pretrained(folder, save_embedding_layers=False)
    else:
        config.save_pretrained(folder)
    return folder


def built_ranks(**fields: Any) -> list[int]:
    """Rank by layer that PEFT builds."""
    model = get_peft_model(bert(), LoraConfig(**{"target_modules": BOTH} | fields))
    ranks = [0, 0, 0]
    for name, module in model.named_modules():
        if hasattr(module, "lora_A") and hasattr(module, "scaling"):
            ranks[int(name.split("layer.")[1].split(".")[0])] = module.r["default"]
    return ranks


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"layers_to_transform": [1, 2]},
        {"layers_to_transform": 2},
        {"target_modules": r".*layer\.[12]\.attention\.self\.(query|value)"},
        {"target_modules": r"bert\.encoder\.layer\.2\..*(query|value)"},
        {"rank_pattern": {r"layer\.0\..*": 2, "query": 4, "value": 4}, "lora_alpha": 8},
        {"exclude_modules": r".*\.0\.attention.*"},
    ],
)
def test_ranks_are_those_that_peft_builds(
    tmp_path: Path, fields: dict[str, Any], weights: bool
) -> None:
    folder = saved(tmp_path / "adapter", weights=weights, **fields)
    adapter = read_adapter(folder, fleet(), convert=True)
    assert adapter.ranks == built_ranks(**fields)
    assert any("not seen" in note for note in adapter.notes) != weights


def test_all_linear_needs_the_weights_to_be_resolved(tmp_path: Path) -> None:
    folder = saved(tmp_path / "a", weights=False, target_modules="all-linear")
    with pytest.raises(InputError, match="only PEFT resolves"):
        read_adapter(folder, fleet())
    folder = saved(tmp_path / "b", weights=True, target_modules="all-linear")
    with pytest.raises(InputError, match="which the fleet's profile does not count"):
        read_adapter(folder, fleet())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"target_modules": ["query", "key"]}, "targets 'key', which the fleet's profile"),
        ({"target_modules": ["query"]}, "modules of layer 0 differ in rank"),
        ({"layers_to_transform": [0, 2]}, "layer 1 is not adapted and layer 0 below it is"),
        ({"layers_to_transform": [0, 1]}, "layer 2 is not adapted"),
        ({"use_rslora": True}, "rsLoRA divides by the root.*--convert"),
        ({"lora_alpha": 32}, "LoRA scale is 4; the fleet plans alpha / rank = 2"),
        ({"alpha_pattern": {"query": 8}}, "LoRA scale is 1 to 2"),
        ({"use_dora": True}, "use_dora cannot be expressed"),
        ({"bias": "all"}, "bias 'all' cannot be expressed"),
        ({"task_type": None}, "trains no head"),
        ({"modules_to_save": ["embeddings"]}, "trains module 'embeddings' whole"),
        ({"target_modules": "("}, "no regular expression"),
        ({"target_modules": "x"}, "matches no module of 'tiny-bert'"),
    ],
)
def test_what_a_plan_cannot_say_is_refused(
    tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    folder = saved(tmp_path / "adapter", weights=False, **fields)
    with pytest.raises(InputError, match=said) as caught:
        read_adapter(folder, fleet())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"peft_type": "IA3"}', b'{"r": "x"}', b"\xff"])
def test_a_bad_file_is_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "adapter_config.json").write_bytes(data)
    with pytest.raises(InputError) as raised:
        read_adapter(tmp_path, fleet())
    assert "\n" not in str(raised.value)
    saved(tmp_path, weights=False)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"\xff" * 9 + data)
    with pytest.raises(InputError, match="not a safetensors file") as raised:
        read_adapter(tmp_path, fleet())
    assert "\n" not in str(raised.value)


def test_the_command_makes_a_plan_that_verifies_and_compares(tmp_path: Path) -> None:
    saved(tmp_path / "adapter", weights=True)
    plan = tmp_path / "plan.json"
    arguments = [str(tmp_path / "adapter"), "--fleet", str(FLEET), "-o", str(plan)]
    done = CliRunner().invoke(plan_from_peft, [*arguments, "--ranks", "1-16", "--json"])
    assert done.exit_code == 0, done.exception
    made = read_plan(plan)
    assert check(made, fleet()).ok
    assert made.question.policy == "import"
    assert made.ranks == [8, 8, 8]
    assert made.certificate.gap_fraction is not None
    assert made.certificate.gap_fraction > 0
    table = CliRunner().invoke(
        compare,
        [str(FLEET), "--ranks", "1-16", "--policy", "exact", "--plan", str(plan), "--json"],
    )
    rows = {row["policy"]: row for row in json.loads(table.stdout)}
    best = rows["exact, shared ranks"]["predicted"]["utility"]
    assert rows["import (plan.json)"]["predicted"]["utility"] <= best
    assert best == pytest.approx(made.certificate.bound)
    assert rows["import (plan.json)"]["gap_fraction"] > 0


def test_who_cannot_carry_it_is_named_or_left_out(tmp_path: Path) -> None:
    saved(tmp_path / "adapter", weights=False)
    arguments = [str(tmp_path / "adapter"), "--fleet", str(FLEET), "--round-time", "0.4"]
    done = CliRunner().invoke(plan_from_peft, arguments)
    assert isinstance(done.exception, Infeasible)
    assert "tx2-01 needs" in str(done.exception)
    arguments += ["--leave-out", "unable", "--json"]
    done = CliRunner().invoke(plan_from_peft, arguments)
    devices = json.loads(done.stdout)["devices"]
    assert [d["configuration"] for d in devices] == [None, 0, 0]


def test_what_devices_lack_for_the_adapter_or_more_of_it_is_said_beside_the_plan(
    tmp_path: Path,
) -> None:
    saved(tmp_path, weights=False)
    arguments = [str(tmp_path), "--fleet", str(FLEET), "--round-time", "0.4", "--next-layer"]
    done = CliRunner().invoke(plan_from_peft, [*arguments, "--leave-out", "unable", "--json"])
    answer = json.loads(done.stdout)
    assert answer["plan"]["question"]["policy"] == "import"
    lacks = answer["next_layer"]
    assert [row["device"] for row in lacks] == ["tx2-01"]
    assert lacks[0]["round_time_s"] > 0


def test_an_export_comes_back_as_it_left(tmp_path: Path) -> None:
    plan = read_plan(EXAMPLES / "plan.json")
    write_export(render(plan), tmp_path / "peft")
    arguments = [str(tmp_path / "peft"), "--fleet", str(FLEET), "--ranks", "1-16"]
    done = CliRunner().invoke(plan_from_peft, [*arguments, "--json"])
    again = json.loads(done.stdout)
    assert again["ranks"] == plan.ranks
    assert (
        again["configurations"]
        == json.loads((EXAMPLES / "plan.json").read_text())["configurations"]
    )
    assert again["predicted"]["round_time_s"] == plan.predicted.round_time_s
    index = tmp_path / "peft" / "devices.json"
    index.write_text(index.read_text().replace("configuration-1", "../evil"))
    with pytest.raises(InputError, match="is no folder beside it"):
        read_import(tmp_path / "peft", fleet())


def test_a_least_depth_that_the_adapter_does_not_have_is_not_passed_over(
    tmp_path: Path,
) -> None:
    folder = saved(tmp_path / "adapter", weights=False, layers_to_transform=[1, 2])
    asked = [str(folder), "--fleet", str(FLEET), "--convert", "--min-depth"]
    kept = CliRunner().invoke(plan_from_peft, [*asked, "2", "--json"])
    assert kept.exit_code == 0
    refused = CliRunner().invoke(plan_from_peft, [*asked, "3"])
    assert isinstance(refused.exception, Infeasible)
    assert "has 2 layers and the least depth is 3" in str(refused.exception)


def test_a_shape_that_the_adapter_does_not_have_is_refused(tmp_path: Path) -> None:
    pattern = {r"layer\.1\..*": 2}
    folder = saved(tmp_path / "adapter", weights=False, rank_pattern=pattern)
    asked = [str(folder), "--fleet", str(FLEET), "--convert", "--rank-shape"]
    refused = CliRunner().invoke(plan_from_peft, [*asked, "rising"])
    assert isinstance(refused.exception, Infeasible)
    assert "the ranks given are 8, 2, 8 and the shape asked for is 'rising'" in str(
        refused.exception
    )
    even = saved(tmp_path / "even", weights=False)
    kept = CliRunner().invoke(plan_from_peft, [str(even), *asked[1:], "progression"])
    assert kept.exit_code == 0, kept.exception
